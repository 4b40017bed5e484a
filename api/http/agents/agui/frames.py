"""AG-UI's events of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from typing_extensions import override

from api.errors import GreenroomError
from api.http.agents.shown import Frame, Frames, Shown
from api.threads.blocks import Block, Part
from api.threads.runs import Run, Usage, spent

PROTOCOL_VERSION = "1.0"

_APPROVAL = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}


@dataclass(frozen=True, slots=True)
class Names:
    """What the client calls a thread and a run of it."""

    thread_id: str
    run_id: str
    parent_run_id: str | None = None


class AguiShown(Shown):
    """Each block between its start and its end. Of statuses one is open at a time: a step until the next one. A run
    below is a subagent from its first block on, without steps.
    """

    def __init__(self, names: Names, runs: Sequence[str], past_asks: Iterable[str] = (), *, is_whole: bool) -> None:
        super().__init__(runs, past_asks, is_whole=is_whole)
        self._names = names
        self._open: dict[str, Block] = {}
        self._step: str | None = None
        self._agents: dict[str, tuple[str, str | None]] = {}
        self._begun: list[str] = []
        self._last_message: tuple[tuple[str, int], str] | None = None
        self._usages = dict.fromkeys(self.runs, Usage())
        self._told = Usage()

    @override
    def opening(self) -> Frames:
        parent = self._names.parent_run_id
        return [
            {
                "type": "RUN_STARTED",
                **self._ids,
                "protocolVersion": PROTOCOL_VERSION,
                **({} if parent is None else {"parentRunId": parent}),
            }
        ]

    @override
    def created(self, block: Block) -> Frames:
        self._agents[block.run_id] = block.agent, block.parent_run_id
        match block.kind:
            case "status" if block.run_id in self.runs:
                return _at(block.created_at, self._step_to(block.text))
            case "message" if block.role == "assistant":
                self._last_message = (block.run_id, block.turn), block.id
                frames = [_frame("TEXT_MESSAGE_START", messageId=block.id, role="assistant")]
            case "reasoning":
                frames = [
                    _frame("REASONING_START", messageId=block.id),
                    _frame("REASONING_MESSAGE_START", messageId=block.id, role="reasoning"),
                ]
            case "tool_call":
                frames = [_frame("TOOL_CALL_START", **_call(block), toolCallName=block.name, **self._parent(block))]
            case _:
                return []
        self._open[block.id] = block
        return _at(block.created_at, frames)

    @override
    def grown(self, block_id: str, text: str) -> Frames:
        block = self._open.get(block_id)
        match block.kind if block else None:
            case "message":
                return [_frame("TEXT_MESSAGE_CONTENT", messageId=block_id, delta=text)]
            case "reasoning":
                return [_frame("REASONING_MESSAGE_CONTENT", messageId=block_id, delta=text)]
            case "tool_call":
                assert block is not None, "it is open"
                return [_frame("TOOL_CALL_ARGS", **_call(block), delta=text)]
        return []

    @override
    def completed(self, block: Block) -> Frames:
        if block.kind == "tool_result" and block.state in ("complete", "failed"):
            result = _frame(
                "TOOL_CALL_RESULT", messageId=block.id, **_call(block), content=_content(block), role="tool"
            )
            return _at(block.closed_at, [result])
        opened = self._open.pop(block.id, None)
        return _at(block.closed_at, _closing(opened)) if opened else []

    @override
    def owned(self, run_id: str, frames: Frames) -> Frames:
        if run_id in self.runs or not frames:
            return frames
        return [*self._begin(run_id), *({**frame, **self._owner(run_id)} for frame in frames)]

    @override
    def below(self, run: Run) -> Frames:
        if not run.is_over or run.id not in self._begun:
            return []
        self._begun.remove(run.id)
        if run.state == "succeeded":
            return [_frame("SUBAGENT_FINISHED", subagentRunId=run.id)]
        message = run.error.message if run.error else run.state
        return [_frame("SUBAGENT_ERROR", subagentRunId=run.id, message=message, code=run.reason)]

    @override
    def changed(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        if self._past:
            self._told = run.usage
        return self._close_all() if run.is_over or run.state == "waiting" else []

    @override
    def waits(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        asks = sorted(self.asks.values(), key=lambda ask: ask.seq)
        open_asks = [ask for ask in asks if ask.ask and ask.ask.type != "client_tool"]
        interrupts = [{**_interrupt(ask), **self._owner(ask.run_id)} for ask in open_asks]
        if interrupts:
            return self._finished(run, {"type": "interrupt", "interrupts": interrupts})
        return self._finished(run, {"type": "success", "pendingToolCallIds": [ask.call_id for ask in asks]})

    @override
    def ended(self, run: Run) -> Frames:
        self._usages[run.id] = run.usage
        if run.state != "failed":
            return self._finished(run, {"type": "success" if run.state == "succeeded" else "cancelled"})
        message = run.error.message if run.error else str(run.reason)
        return [*self._close_all(), _frame("RUN_ERROR", message=message, code=run.reason, usage=[self._usage])]

    @override
    def failed(self, error: GreenroomError) -> Frames:
        return [*self._close_all(), _frame("RUN_ERROR", message=str(error), code=error.code)]

    @property
    def _ids(self) -> Frame:
        return {"threadId": self._names.thread_id, "runId": self._names.run_id}

    def _finished(self, run: Run, outcome: Frame) -> Frames:
        finished = _frame("RUN_FINISHED", **self._ids, outcome=outcome, usage=[self._usage])
        return [*self._close_all(), *_at(run.ended_at, [finished])]

    def _close_all(self) -> Frames:
        opened, self._open = self._open, {}
        closing = [frame for block in opened.values() for frame in self.owned(block.run_id, _closing(block))]
        begun, self._begun = self._begun, []
        return [*closing, *self._step_to(None), *(self._suspended(run_id) for run_id in reversed(begun))]

    def _begin(self, run_id: str) -> Frames:
        """The subagent, and those above it, where they have not begun."""
        if run_id in self._begun or run_id in self.runs:
            return []
        name, parent_id = self._agents[run_id]
        is_below = parent_id is not None and parent_id not in self.runs
        above = self._begin(parent_id) if is_below and parent_id else []
        parent = {"parentSubagentRunId": parent_id} if is_below else {}
        self._begun.append(run_id)
        return [*above, _frame("SUBAGENT_STARTED", subagentRunId=run_id, name=name, **parent)]

    def _owner(self, run_id: str) -> Frame:
        return {} if run_id in self.runs else {"subagentRunId": run_id}

    def _suspended(self, run_id: str) -> Frame:
        asks = [ask.id for ask in self.asks.values() if ask.run_id == run_id]
        outcome = {"type": "suspended", "interruptIds": asks}
        return _frame("SUBAGENT_FINISHED", subagentRunId=run_id, outcome=outcome)

    def _step_to(self, name: str | None) -> Frames:
        frames = [] if self._step is None else [_frame("STEP_FINISHED", stepName=self._step)]
        self._step = name
        return frames if name is None else [*frames, _frame("STEP_STARTED", stepName=name)]

    def _parent(self, block: Block) -> Frame:
        """The message of the same step, where there is one."""
        known = self._last_message
        return {"parentMessageId": known[1]} if known and known[0] == (block.run_id, block.turn) else {}

    @property
    def _usage(self) -> Frame:
        """Without what an earlier run of the client's has been told."""
        found = spent(self._usages.values(), self._told)
        return {
            "inputTokens": found.prompt_tokens,
            "outputTokens": found.completion_tokens,
            "totalTokens": found.prompt_tokens + found.completion_tokens,
            "cachedInputTokens": min(found.prompt_tokens, found.cached_tokens),
        }


def _frame(kind: str, **fields: Any) -> Frame:
    return {"type": kind, **fields}


def _at(seconds: float | None, frames: Frames) -> Frames:
    return frames if seconds is None else [{**frame, "timestamp": int(seconds * 1000)} for frame in frames]


def _closing(block: Block) -> Frames:
    match block.kind:
        case "message":
            return [_frame("TEXT_MESSAGE_END", messageId=block.id)]
        case "reasoning":
            return [_frame("REASONING_MESSAGE_END", messageId=block.id), _frame("REASONING_END", messageId=block.id)]
    return [_frame("TOOL_CALL_END", **_call(block))]


def _call(block: Block) -> Frame:
    return {"toolCallId": block.call_id}


def _content(block: Block) -> str | Frames:
    """What the tool has returned, and why it failed; parts where there are bytes among it."""
    error = [Part(text=f"Error: {block.error.message}")] if block.error else []
    parts = [*block.parts, *error]
    if all(part.type != "file" for part in parts):
        return "\n".join(part.text for part in parts)
    return [_part(block, number, part) for number, part in enumerate(parts)]


def _part(block: Block, number: int, part: Part) -> Frame:
    if part.type != "file":
        return {"type": "text", "text": part.text}
    kind = part.mime_type.partition("/")[0]
    source = {"type": "url", "value": f"/api/blocks/{block.id}/raw?part={number}", "mimeType": part.mime_type}
    return {"type": kind if kind in ("image", "audio", "video") else "document", "source": source}


def _interrupt(block: Block) -> Frame:
    ask = block.ask
    assert ask is not None, "it is an ask"
    is_approval = ask.type == "approval"
    value = {"type": "object", "properties": {"value": ask.schema}, "required": ["value"]}
    found: Frame = {
        "id": block.id,
        "reason": "tool_call" if is_approval else "input_required",
        "message": ask.question,
        "responseSchema": _APPROVAL if is_approval else value,
    }
    if ask.call_id is not None:
        found["toolCallId"] = ask.call_id
    if ask.expires_at is not None:
        found["expiresAt"] = datetime.fromtimestamp(ask.expires_at, UTC).isoformat()
    return found
