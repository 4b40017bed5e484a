"""Answers that are messages in channels: reasoning in ``analysis``, calls and text before them in ``commentary``, text
in ``final``.

Each message is ``<|channel|>``, its channel, perhaps ``to=functions.`` and a tool's name, ``<|message|>``, what it
says, and ``<|end|>`` or the answer's end. Before a later one stands ``<|start|>assistant``; the tool might follow that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from api.answers.events import AnswerEvent, CallBegun, ReasoningDelta, TextDelta
from api.answers.formats import AnswerFormat
from api.answers.parser import AnswerParser
from api.tools import Tool

_TOOL = re.compile(r"to=functions\.([A-Za-z0-9_./:-]+)")
_CHANNEL = re.compile(r"\A\s*([a-z]+)")


class ChannelParser(AnswerParser):
    """An ``AnswerParser`` of these. Reasoning after text or a call is left out, as are messages in other channels."""

    def __init__(self, format: AnswerFormat, call_ids: str = "call_", tools: Iterable[Tool] | None = None) -> None:
        super().__init__(format, call_ids, tools)
        start, self._channel, self._message, end = (
            format.with_symbols(mark) for mark in ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
        )
        self._ends = re.compile(f"{re.escape(start)}|{re.escape(end)}|{re.escape(self._channel)}")
        self._has_said = False
        self._state = self._header

    @property
    def is_in_text(self) -> bool:
        return self._state == self._said

    def _header(self, is_last: bool) -> list[AnswerEvent]:
        header, found, rest = self._unread.partition(self._message)
        if not found:
            is_plain = is_last and not any(symbol in header for symbol in self._symbols.values())
            self._unread = "" if is_last else self._unread
            return [TextDelta(header)] if is_plain and header.strip() else []
        self._unread = rest
        channel, tool = _CHANNEL.search(header.rpartition(self._channel)[2]), _TOOL.search(header)
        name = channel[1] if channel else ""
        if tool and self._calls is not None:
            self._has_said, self._arguments, self._state = True, self._reader(tool[1]), self._called
            return [CallBegun(self._num_calls, f"{self._call_ids}{self._num_calls}", tool[1])]
        if name == "analysis" and not self._has_said:
            self._state = self._thought
        else:
            self._state = self._said if name in ("final", "commentary") else self._left_out
        return []

    def _thought(self, is_last: bool) -> list[AnswerEvent]:
        text = self._body()
        return [ReasoningDelta(text)] if text else []

    def _said(self, is_last: bool) -> list[AnswerEvent]:
        text = self._body()
        self._has_said = self._has_said or bool(text)
        return [TextDelta(text)] if text else []

    def _left_out(self, is_last: bool) -> list[AnswerEvent]:
        self._body()
        return []

    def _called(self, is_last: bool) -> list[AnswerEvent]:
        number, text = self._num_calls, self._unread
        found = self._ends.search(text)
        self._unread = text[: found.start()] if found else text
        events = self._in_arguments(is_last)
        self._unread += text[found.start() :] if found else ""
        if self._num_calls > number:
            self._state = self._left_out
        elif found:  # before the arguments were complete
            self._num_calls, self._state = number + 1, self._header
        return events

    def _body(self) -> str:
        """What a message says, as far as it has come."""
        found = self._ends.search(self._unread)
        end = found.start() if found else len(self._unread)
        text, self._unread = self._unread[:end], self._unread[end:]
        if found:
            self._state = self._header
        return self._without_marks(text)
