"""The AI SDK's chunks of a run, which is one message of the assistant's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from typing_extensions import override

from api.errors import GreenroomError
from api.http.agents.shown import Frame, Frames, Shown
from api.threads.blocks import Block, Part
from api.threads.runs import Run

_TEXTS = {"message": "text", "reasoning": "reasoning"}


class UiShown(Shown):
    """A step for each step of the model's. Statuses and questions are parts with data. Runs below say calls."""

    def __init__(self, run_id: str, past_asks: Iterable[str] = (), *, is_whole: bool) -> None:
        super().__init__((run_id,), past_asks, is_whole=is_whole)
        self._open: dict[str, Block] = {}
        self._turn: int | None = None
        self._approved: set[str | None] = set()

    @override
    def opening(self) -> Frames:
        return [_frame("start", messageId=self.runs[0])]

    @override
    def created(self, block: Block) -> Frames:
        match block.kind:
            case "status":
                data = {"name": block.name, "text": block.text}
                return [_frame("data-status", id=block.id, data=data, transient=True)]
            case "ask":
                return self._asked(block)
            case "message" | "reasoning" if block.role == "assistant" and block.run_id in self.runs:
                self._open[block.id] = block
                return [*self._step_to(block.turn), _frame(f"{_TEXTS[block.kind]}-start", id=block.id)]
            case "tool_call":
                self._open[block.id] = block
                turn = block.turn if block.run_id in self.runs else self._turn
                return [*self._step_to(turn), _frame("tool-input-start", **_call(block))]
        return []

    @override
    def grown(self, block_id: str, text: str) -> Frames:
        block = self._open.get(block_id)
        if block is None:
            return []
        if block.kind == "tool_call":
            return [_frame("tool-input-delta", toolCallId=block.call_id, inputTextDelta=text)]
        return [_frame(f"{_TEXTS[block.kind]}-delta", id=block_id, delta=text)]

    @override
    def completed(self, block: Block) -> Frames:
        if block.kind == "tool_result":
            return [self._result(block)]
        if block.kind == "ask" and block.ask and block.ask.type == "question":
            return self._asked(block)
        if self._open.pop(block.id, None) is None:
            return []
        return [_input(block) if block.kind == "tool_call" else _end(block)]

    @override
    def changed(self, run: Run) -> Frames:
        if run.state == "waiting" and not self._is_whole:
            self._turn = None  # what was told before has ended its step
        return []

    @override
    def waits(self, run: Run) -> Frames:
        return [*self._close_all(), _frame("finish", finishReason="tool-calls")]

    @override
    def ended(self, run: Run) -> Frames:
        match run.state:
            case "succeeded":
                return [*self._close_all(), _frame("finish", finishReason="stop")]
            case "cancelled":
                return [*self._close_all(), _frame("abort", reason=run.reason)]
        return [*self._close_all(), _frame("error", errorText=run.error.message if run.error else str(run.reason))]

    @override
    def failed(self, error: GreenroomError) -> Frames:
        return [*self._close_all(), _frame("error", errorText=str(error))]

    def _asked(self, block: Block) -> Frames:
        ask, answer = block.ask, block.answer
        assert ask is not None, "it is an ask"
        if ask.type == "approval":
            self._approved.add(block.call_id)
            return [_frame("tool-approval-request", approvalId=block.id, toolCallId=block.call_id)]
        if ask.type == "client_tool":
            return []
        data: Frame = {
            "run_id": block.run_id,
            "call_id": block.call_id,
            "question": ask.question,
            "schema": ask.schema,
            "expires_at": ask.expires_at,
            "state": block.state,
            "value": answer.value if answer else None,
        }
        return [_frame("data-ask", id=block.id, data=data)]

    def _result(self, block: Block) -> Frame:
        if block.state == "complete":
            return _frame("tool-output-available", toolCallId=block.call_id, output=_output(block))
        if block.error and block.error.code == "denied" and block.call_id in self._approved:
            return _frame("tool-output-denied", toolCallId=block.call_id)
        error = block.error.message if block.error else block.state
        return _frame("tool-output-error", toolCallId=block.call_id, errorText=error)

    def _step_to(self, turn: int | None) -> Frames:
        if turn == self._turn:
            return []
        ended = [] if self._turn is None else [_frame("finish-step")]
        self._turn = turn
        return ended if turn is None else [*ended, _frame("start-step")]

    def _close_all(self) -> Frames:
        opened, self._open = self._open, {}
        return [*(_end(block) for block in opened.values() if block.kind in _TEXTS), *self._step_to(None)]


def _frame(kind: str, **fields: Any) -> Frame:
    return {"type": kind, **fields}


def _end(block: Block) -> Frame:
    return _frame(f"{_TEXTS[block.kind]}-end", id=block.id)


def _call(block: Block) -> Frame:
    return {"toolCallId": block.call_id, "toolName": block.name}


def _input(block: Block) -> Frame:
    try:
        value = json.loads(block.text)
        error = block.error.message if block.error else None
    except ValueError:
        value, error = block.text, "the model ended within this call"
    if error is None:
        return _frame("tool-input-available", **_call(block), input=value)
    return _frame("tool-input-error", **_call(block), input=value, errorText=error)


def _output(block: Block) -> Any:
    """The value that a tool has returned, or all of them."""
    values = [_value(block, number, part) for number, part in enumerate(block.parts)]
    return values[0] if len(values) == 1 else values


def _value(block: Block, number: int, part: Part) -> Any:
    match part.type:
        case "file":
            url = f"/api/blocks/{block.id}/raw?part={number}"
            return {"type": "file", "mediaType": part.mime_type, "url": url, "filename": part.name}
        case "json":
            return json.loads(part.text)
    return part.text
