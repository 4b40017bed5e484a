"""An answer's events, put together while they come."""

from __future__ import annotations

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.tools import ToolCall


class Collected:
    """What an answer has come to.

    Attributes:
        calls: that are complete.
    """

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: tuple[ToolCall, ...] = ()
        self._call = ToolCall("", "", "")

    def take(self, event: AnswerEvent) -> None:
        """The next event."""
        match event:
            case TextDelta(text):
                self.text += text
            case ReasoningDelta(text):
                self.reasoning += text
            case CallBegun(_, call_id, name):
                self._call = ToolCall(call_id, name, "")
            case ArgumentsDelta(_, text):
                self._call = ToolCall(self._call.id, self._call.name, self._call.arguments + text)
            case CallEnded():
                self.calls = (*self.calls, self._call)
