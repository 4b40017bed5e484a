"""One answer: a turn's frames as events before a stop, and its tokens with their log-probabilities."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.answers.events import AnswerEvent, CallBegun, ReasoningDelta, TextDelta
from api.answers.parser import AnswerParser
from api.errors import GreenroomError
from api.turns import Finish, Frame, TokenLogprobs

FINISH_REASONS = {"eos": "stop", "stop": "stop", "distribution": "stop", "length": "length", "context": "length"}


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the answer; ``start`` counts the characters before it."""

    token_id: int
    logprobs: TokenLogprobs
    start: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What is new of an answer; the last one has ``finish_reason``. ``ids`` are all that were computed."""

    events: tuple[AnswerEvent, ...]
    tokens: tuple[Token, ...]
    ids: tuple[int, ...]
    finish_reason: str | None


class Choice:
    """Takes a turn's frames and gives out the answer before its stop: what might begin a stop waits.

    Attributes:
        num_output: tokens that were computed, with the end token and those of a stop.
        num_reasoning: of them before the answer proper.

    Args:
        parser: finds reasoning and calls; None for plain text. With it all tokens but the end have log-probabilities.
    """

    def __init__(self, stops: Sequence[str], parser: AnswerParser | None = None) -> None:
        self.num_output = 0
        self.num_reasoning = 0
        self._parser = parser
        self._cut = StopCut(stops)
        self._num_taken = 0
        self._waiting: deque[Token] = deque()
        self._is_reasoning = self._has_calls = False

    def take(self, frame: Frame) -> Piece:
        """What this frame releases.

        Raises:
            GreenroomError: the turn was ended by somebody else.
        """
        finish = frame.finish
        if finish is not None and finish.reason not in FINISH_REASONS:
            raise GreenroomError("the turn was ended before its time")
        self.num_output += len(frame.ids)
        self._take_tokens(frame)
        events = tuple(self._cut_events(self._events(frame), finish))
        is_cut = finish is not None and finish.stop is not None
        end = self._cut.num_given if is_cut or finish is None else self._cut.num_given + 1
        tokens = self._tokens(self._num_taken + 1 if self._parser else end)
        return Piece(events, tokens, frame.ids, self._finish_reason(finish) if finish else None)

    def _events(self, frame: Frame) -> Iterable[AnswerEvent]:
        if self._parser is None:
            return [TextDelta(frame.text)] if frame.text else []
        events: list[AnswerEvent] = []
        for token_id, piece in zip(frame.ids, frame.pieces, strict=True):
            found = self._parser.token(token_id, piece)
            self._is_reasoning = isinstance(found[-1], ReasoningDelta) if found else self._is_reasoning
            self.num_reasoning += self._is_reasoning
            events += found
        return [*events, *self._parser.finish(frame.finish.tail)] if frame.finish else events

    def _cut_events(self, events: Iterable[AnswerEvent], finish: Finish | None) -> Iterable[AnswerEvent]:
        text = ""
        for event in events:
            if isinstance(event, TextDelta):
                text += self._cut.add(event.text)
                continue
            self._has_calls = self._has_calls or isinstance(event, CallBegun)
            text += self._cut.release()
            if text:
                yield TextDelta(text)
            text = ""
            yield event
        if finish is not None:
            text += self._cut.end(finish.stop)
        if text:
            yield TextDelta(text)

    def _finish_reason(self, finish: Finish) -> str:
        reason = FINISH_REASONS[finish.reason]
        return "tool_calls" if self._has_calls and reason == "stop" else reason

    def _take_tokens(self, frame: Frame) -> None:
        """Keep the tokens that have log-probabilities; the end token is no part of the answer."""
        is_ended = frame.finish is not None and frame.finish.reason == "eos"
        for index, (token_id, piece) in enumerate(zip(frame.ids, frame.pieces, strict=True)):
            if frame.logprobs and not (is_ended and index + 1 == len(frame.ids)):
                self._waiting.append(Token(token_id, frame.logprobs[index], self._num_taken))
            self._num_taken += len(piece)

    def _tokens(self, end: int) -> tuple[Token, ...]:
        """Those that begin before the ``end``-th character."""
        found = []
        while self._waiting and self._waiting[0].start < end:
            found.append(self._waiting.popleft())
        return tuple(found)


class StopCut:
    """A text as it comes, without the stop that ends it.

    Attributes:
        num_given: characters so far.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self.num_given = 0
        self._stops = stops
        self._longest = max((len(stop) for stop in stops), default=0)
        self._held = ""

    def add(self, text: str) -> str:
        """What no stop begins with."""
        self._held += text
        return self._give(self._held[: len(self._held) - self._num_stop_characters()])

    def release(self) -> str:
        """What was held back, where something else follows than the text of a stop."""
        return self._give(self._held)

    def end(self, stop: str | None) -> str:
        """The rest of a text that this stop, or none, has ended."""
        return self._give(self._held.removesuffix(stop) if stop else self._held)

    def _give(self, text: str) -> str:
        self._held = self._held[len(text) :]
        self.num_given += len(text)
        return text

    def _num_stop_characters(self) -> int:
        """Characters at the end of the text that are a stop, or with which one might begin."""
        for length in range(min(self._longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
