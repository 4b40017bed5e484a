"""One step of the model as blocks: its reasoning, its text, and its calls, while they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from api.agents.writer import OpenBlock
from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.threads.blocks import BlockError, Part
from api.tools import ToolCall
from api.turns import Message

_JSON = Part("json", "application/json")
NewBlock = Callable[..., OpenBlock]


class Said:
    """Opens blocks as the model begins to say them.

    Attributes:
        calls: that are complete.

    Args:
        is_json: its text is JSON.
    """

    def __init__(self, new_block: NewBlock, is_json: bool = False) -> None:
        self.calls: list[ToolCall] = []
        self._is_json = is_json
        self._new_block = new_block
        self._texts: dict[str, OpenBlock] = {}
        self._call: tuple[CallBegun, OpenBlock] | None = None

    @property
    def message(self) -> Message:
        """It, as the model's own message."""
        return Message("assistant", self._text("message"), self._text("reasoning"), tuple(self.calls))

    def take(self, event: AnswerEvent) -> None:
        """The next that the model has said."""
        match event:
            case ReasoningDelta(text):
                self._grow("reasoning", text)
            case TextDelta(text):
                self._close("reasoning")
                self._grow("message", text)
            case CallBegun():
                self._close("reasoning", "message")
                block = self._new_block("tool_call", "assistant", name=event.name, call_id=event.id)
                block.begin_part(_JSON)
                self._call = event, block
            case ArgumentsDelta(_, text):
                self._begun()[1].show(text)
            case CallEnded():
                self._end_call()

    def end(self) -> None:
        """The model has ended. A call that is not complete has failed; an answer of nothing is an empty message."""
        if self._call:
            self._call[1].close("failed", error=BlockError("incomplete", "the model ended within this call"))
            self._call = None
        elif not self.calls and "message" not in self._texts:
            self._grow("message", "")
        self._close("reasoning", "message")

    def _grow(self, kind: Any, text: str) -> None:
        if kind not in self._texts:
            block = self._texts[kind] = self._new_block(kind, "assistant")
            if self._is_json and kind == "message":
                block.begin_part(_JSON)
        self._texts[kind].show(text)

    def _close(self, *kinds: str) -> None:
        for kind in kinds:
            if kind in self._texts:
                self._texts[kind].close()

    def _text(self, kind: str) -> str:
        return self._texts[kind].text if kind in self._texts else ""

    def _begun(self) -> tuple[CallBegun, OpenBlock]:
        assert self._call is not None, "arguments belong to a call that has begun"
        return self._call

    def _end_call(self) -> None:
        begun, block = self._begun()
        self.calls.append(ToolCall(begun.id, begun.name, block.text))
        block.close()
        self._call = None
