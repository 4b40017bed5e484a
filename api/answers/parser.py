"""Finds the reasoning, the text and the calls in an answer, while it comes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.answers.formats import AnswerFormat, CallFormat, ParameterFormat, symbols
from api.answers.keywords import KeywordReader
from api.answers.parameters import ParameterReader, num_common
from api.tools import Tool
from api.turns import Frame

_NOTHING = AnswerFormat()
_NAME = r"[A-Za-z0-9_.\/:-]"
_NO_NAME = "(?=[^A-Za-z0-9_./:-])"
_State = Callable[[bool], list[AnswerEvent]]


class AnswerParser:
    """Takes an answer's tokens or frames in order, from its first on; gives the same events however they are cut.

    White space before a call, and around reasoning, belongs to the format, and is left out.

    Args:
        format: of the model.
        call_ids: what a call's id begins with; its number follows.
        tools: that may be called; without any, calls are plain text. None for tools of which nothing is known.
    """

    def __init__(
        self, format: AnswerFormat = _NOTHING, call_ids: str = "call_", tools: Iterable[Tool] | None = None
    ) -> None:
        self._call_ids = call_ids
        self._schemas = None if tools is None else {tool.name: tool.parameters for tool in tools}
        self._calls: CallFormat | None = None if self._schemas == {} else format.calls
        parameters = self._calls.parameters if self._calls else None
        self._parameters = parameters and ParameterFormat(
            *(format.with_symbols(text) for text in (parameters.head, parameters.middle, parameters.tail))
        )
        self._opening = format.with_symbols(self._calls.opening) if self._calls else ""
        self._heads = _heads(self._calls, format) if self._calls else ()
        begin, end = format.reasoning or ("", "")
        self._begin, self._end = format.with_symbols(begin), format.with_symbols(end)
        self._symbols = dict(zip((id for _, id in format.mark_ids), symbols(format.mark_ids), strict=True))
        self._marks = dict(zip((id for _, id in format.mark_ids), (mark for mark, _ in format.mark_ids), strict=True))
        self._forged = str.maketrans(dict.fromkeys(self._symbols.values(), "\ufffd"))
        self._unread = ""
        self._num_calls = 0
        self._arguments: _Json | ParameterReader | KeywordReader = _Json()
        self._drops_space = format.starts_in_reasoning
        self._state: _State = self._reasoning if format.starts_in_reasoning else self._start

    @property
    def is_in_text(self) -> bool:
        """Whether the next token is of the text, as far as one can tell before it has come."""
        return self._state in (self._start, self._text)

    def take(self, frame: Frame) -> list[AnswerEvent]:
        """The events of the next frame."""
        events = [event for token in zip(frame.ids, frame.pieces, strict=True) for event in self.token(*token)]
        if frame.finish is not None:
            events += self.finish(frame.finish.tail)
        return events

    def token(self, token_id: int, piece: str) -> list[AnswerEvent]:
        """The events of the next token."""
        symbol = self._symbols.get(token_id)
        if symbol is None:
            return self._read(piece.translate(self._forged))
        return self._read(piece.removesuffix(self._marks[token_id]) + symbol)

    def finish(self, tail: str = "") -> list[AnswerEvent]:
        """The events of the answer's end, and of the text that it released."""
        return self._read(tail.translate(self._forged), is_last=True)

    def _read(self, text: str, is_last: bool = False) -> list[AnswerEvent]:
        self._unread += text
        events: list[AnswerEvent] = []
        state: _State | None = None
        while state != self._state:
            state = self._state
            events += state(is_last)
        return events

    # Each state takes from what is unread as much as it can tell, and may go over to another.

    def _start(self, is_last: bool) -> list[AnswerEvent]:
        text = self._unread.lstrip()
        bare = self._calls if self._calls and self._calls.is_bare else None
        if self._begin and text.startswith(self._begin):
            self._unread, self._state, self._drops_space = text.removeprefix(self._begin), self._reasoning, True
        elif bare and re.match(bare_call(bare), text):
            self._unread, self._state = text, self._between_calls
        elif is_last or not (self._begin.startswith(text) or (bare and _might_become(bare, text))):
            self._state = self._text
        return []

    def _reasoning(self, is_last: bool) -> list[AnswerEvent]:
        self._drop_space()
        found = self._unread.find(self._end)
        if found >= 0:
            thought, self._unread = self._unread[:found].rstrip(), self._unread[found + len(self._end) :]
            self._begin, self._state, self._drops_space = "", self._start, True
        else:
            thought = self._certain(self._end, is_last)
        thought = self._without_marks(thought)
        return [ReasoningDelta(thought)] if thought else []

    def _text(self, is_last: bool) -> list[AnswerEvent]:
        self._drop_space()
        found = self._unread.find(self._opening) if self._opening else -1
        if found >= 0:
            text, self._unread = self._unread[:found].rstrip(), self._unread[found + len(self._opening) :]
            self._state = self._between_calls
        else:
            text = self._certain(self._opening, is_last)
        text = self._without_marks(text)
        return [TextDelta(text)] if text else []

    def _between_calls(self, is_last: bool) -> list[AnswerEvent]:
        found = self._heads[self._num_calls > 0].search(self._unread)
        if found is None:
            return []
        self._unread, self._state = self._unread[found.end() :], self._in_arguments
        self._arguments = self._reader(found[1])
        return [CallBegun(self._num_calls, f"{self._call_ids}{self._num_calls}", found[1])]

    def _in_arguments(self, is_last: bool) -> list[AnswerEvent]:
        text, num_read = self._arguments.read(self._unread)
        self._unread = self._unread[num_read:]
        events: list[AnswerEvent] = [ArgumentsDelta(self._num_calls, text)] if text else []
        if self._arguments.is_complete:
            events.append(CallEnded(self._num_calls))
            self._num_calls += 1
            self._state = self._between_calls
        return events

    def _reader(self, name: str) -> _Json | ParameterReader | KeywordReader:
        if self._calls and self._calls.has_keywords:
            return KeywordReader()
        if self._parameters is None:
            return _Json()
        return ParameterReader(self._parameters, json.loads((self._schemas or {}).get(name, "{}")))

    def _drop_space(self) -> None:
        if self._drops_space:
            self._unread = self._unread.lstrip()
            self._drops_space = not self._unread

    def _certain(self, mark: str, is_last: bool) -> str:
        """What is unread, without what might be, or precede, the beginning of a mark; takes it."""
        certain = self._unread
        if mark and not is_last:
            certain = certain[: len(certain) - num_common(certain, mark)].rstrip()
        self._unread = self._unread[len(certain) :]
        return certain

    def _without_marks(self, text: str) -> str:
        for symbol in self._symbols.values():
            text = text.replace(symbol, "")
        return text


class _Json:
    """Where a JSON object or array ends."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        self.is_complete = False

    def read(self, text: str) -> tuple[str, int]:
        """Those of these characters that belong to it, and how many these are."""
        end = self._end(text)
        return text[:end], end

    def _end(self, text: str) -> int:
        for number, character in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_in_string:
                self._is_escaped = character == "\\"
                self._is_in_string = character != '"'
            elif character == '"':
                self._is_in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                self.is_complete = self._depth <= 0
                if self.is_complete:
                    return number + 1
        return len(text)


def _heads(calls: CallFormat, format: AnswerFormat) -> Sequence[re.Pattern[str]]:
    """What comes before the arguments of the first call, and of a later one, with the tool's name as its group."""
    head, middle, between = (
        re.escape(format.with_symbols(text)) for text in (calls.head, calls.middle, calls.between or "")
    )
    name = rf"({_NAME}+){calls.number}{middle or _NO_NAME}"
    return [re.compile(before + name) for before in ((head, head) if head else (rf"\A{calls.lead}", between))]


def bare_call(calls: CallFormat) -> str:
    """What opens a call at the start of an answer: its head, or, where there is none, all before its arguments."""
    return re.escape(calls.head) or f"{calls.lead}{_NAME}+{re.escape(calls.middle)}"


def _might_become(calls: CallFormat, text: str) -> bool:
    """Whether what opens a bare call might begin with this."""
    if calls.head:
        return calls.head.startswith(text)
    return not text or re.fullmatch(f"{calls.lead}{_NAME}*", text) is not None
