"""A run as one answer of a chat: what the agent says in all its steps, and calls of tools that its caller runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from typing_extensions import override

from api.errors import GreenroomError
from api.http.agents.shown import Frame, Frames, Shown
from api.http.openai.agents.begun import call_id, calls_of_caller, waits_for_person
from api.threads.blocks import Block
from api.threads.runs import Run, Usage

_FIELDS = {"message": "content", "reasoning": "reasoning_content"}
LENGTHS = ("max_tokens", "length_exceeded")
"""What a run that has used up its budget is told to have been too long by."""


class ChatShown(Shown):
    """Frames are ``{delta}`` of the message, at last ``{finish_reason}``.

    Attributes:
        usage: at the end.
        error: why there is no answer.
    """

    def __init__(self, runs: Sequence[str], past_asks: Iterable[str] = (), *, is_whole: bool) -> None:
        super().__init__(runs, past_asks, is_whole=is_whole)
        self.usage = Usage()
        self.error: GreenroomError | None = None
        self._open: dict[str, Block] = {}
        self._calls: dict[str | None, Block] = {}
        self._texts: set[str] = set()

    @override
    def opening(self) -> Frames:
        return [_delta(role="assistant", content="", refusal=None)]

    @override
    def created(self, block: Block) -> Frames:
        if block.kind not in _FIELDS or block.role != "assistant" or block.run_id not in self.runs:
            return []
        self._open[block.id] = block
        return []

    @override
    def grown(self, block_id: str, text: str) -> Frames:
        block = self._open.get(block_id)
        if block is None:
            return []
        if block.kind == "message" and (self._is_whole or not self._past):
            text = f"\n\n{text}" if self._texts - {block_id} and block_id not in self._texts else text
            self._texts.add(block_id)
        return [_delta(**{_FIELDS[block.kind]: text})]

    @override
    def completed(self, block: Block) -> Frames:
        if block.kind == "tool_call":
            self._calls[block.call_id] = block
        return []

    @override
    def changed(self, run: Run) -> Frames:
        return []

    @override
    def waits(self, run: Run) -> Frames:
        self.usage = run.usage
        asks = sorted(self.asks.values(), key=lambda ask: ask.seq)
        if calls_of_caller(asks) != asks:
            return self.failed(waits_for_person(run.id))
        calls = [self._calls[ask.call_id] for ask in asks if ask.call_id in self._calls]
        return [*(_call(index, call) for index, call in enumerate(calls)), {"finish_reason": "tool_calls"}]

    @override
    def ended(self, run: Run) -> Frames:
        self.usage = run.usage
        if run.state == "succeeded":
            return [{"finish_reason": "stop"}]
        if run.reason == "budget" and run.error and run.error.code in LENGTHS:
            return [{"finish_reason": "length"}]
        return self.failed(GreenroomError(f"the run {run.state}: {run.error.message if run.error else run.reason}"))

    @override
    def failed(self, error: GreenroomError) -> Frames:
        self.error = error
        return []


def _call(index: int, call: Block) -> Frame:
    function = {"name": call.name, "arguments": call.text}
    return _delta(tool_calls=[{"index": index, "id": call_id(call), "type": "function", "function": function}])


def _delta(**fields: Any) -> Frame:
    return {"delta": fields}
