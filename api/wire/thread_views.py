"""Threads, as the server writes and the client reads them. Times are seconds since the epoch."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import ConfigDict, Field

from api.threads.blocks import Block, BlockState, Kind, Part, Role
from api.threads.contract import ThreadEvent
from api.threads.runs import Reason, Run, RunState
from api.wire.views import View


class PartView(View):
    """A piece of a block: its ``text``, its ``json`` (as text while the block is open), or where its bytes are."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    type: str
    mime_type: str
    name: str | None
    text: str = ""
    value: Any = Field(default=None, alias="json")
    url: str = ""

    @classmethod
    def of_part(cls, block: Block, number: int, part: Part) -> Self:
        """The part of this number."""
        fields: dict[str, Any] = {"type": part.type, "mime_type": part.mime_type, "name": part.name}
        if part.type == "file":
            return cls(**fields, url=f"/api/blocks/{block.id}/raw?part={number}")
        if part.type == "json" and block.state != "open":
            try:
                return cls(**fields, value=json.loads(part.text))
            except ValueError:
                pass  # it was cut
        return cls(**fields, text=part.text)


class FailureView(View):
    """Why a block or a run failed."""

    code: str
    message: str


class AskView(View):
    """What a block of kind ``ask`` wants to know; the schema is of the answer's value."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    type: str
    question: str
    value_schema: dict[str, Any] = Field(alias="schema")
    call_id: str | None
    expires_at: float | None


class AnswerView(View):
    """The answer to an ask."""

    at: float
    approve: bool | None
    value: Any
    reason: str | None


class BlockView(View):
    """One thing that was said or done."""

    id: str
    seq: int
    run_id: str
    turn: int
    kind: Kind
    role: Role
    agent: str
    name: str | None
    call_id: str | None
    parent_run_id: str | None
    parts: tuple[PartView, ...]
    state: BlockState
    created_at: float
    closed_at: float | None
    error: FailureView | None
    ask: AskView | None
    answer: AnswerView | None
    rolled_back: bool

    @classmethod
    def of(cls, value: Any) -> Self:
        """From a ``Block``."""
        block: Block = value
        names = [name for name in cls.model_fields if name not in ("parts", "ask")]
        parts = tuple(PartView.of_part(block, number, part) for number, part in enumerate(block.parts))
        ask = None if block.ask is None else AskView.of(block.ask)
        return cls.model_validate(
            {name: getattr(block, name) for name in names} | {"parts": parts, "ask": ask}, from_attributes=True
        )


class UsageView(View):
    """What a run has cost so far, summed over its steps; ``of_children`` is that of all runs below it, if any."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    model_calls: int
    tool_calls: int
    of_children: UsageView | None


class RunView(View):
    """One prompt's work; the run is also called its task."""

    id: str
    agent: str
    thread_id: str
    context_id: str
    parent_run_id: str | None
    prompt: str
    state: RunState
    reason: Reason | None
    error: FailureView | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    usage: UsageView
    labels: dict[str, str]
    metadata: dict[str, Any]


class ThreadView(View):
    """One conversation with an agent."""

    id: str
    agent: str
    context_id: str
    created_at: float
    last_used_at: float


class AgentView(View):
    """An agent that can be prompted."""

    name: str
    source: str


class AgentsView(View):
    """``GET /api/agents``."""

    agents: tuple[AgentView, ...]


class ThreadsView(View):
    """``GET /api/threads``."""

    threads: tuple[ThreadView, ...]


class RunsView(View):
    """``GET /api/runs``; ``next`` is where the next page begins, as ``after``."""

    runs: tuple[RunView, ...]
    next: str | None


class OneThreadView(View):
    """``GET /api/threads/{id}``."""

    thread: ThreadView


class BlocksView(View):
    """``GET /api/threads/{id}/blocks``."""

    blocks: tuple[BlockView, ...]
    has_more: bool


class OneBlockView(View):
    """``GET /api/blocks/{id}``."""

    block: BlockView


class OneRunView(View):
    """``GET /api/runs/{id}``, and what changes a run."""

    run: RunView


class TaskView(View):
    """A run when its prompt was taken."""

    id: str
    state: RunState


class FileView(View):
    """A thread, by its other name."""

    id: str


class BegunView(View):
    """``POST /api/agents/{agent}/async_prompt``; ``cursor`` is the position before the run's first event."""

    task: TaskView
    file: FileView
    run_id: str
    thread_id: str
    context_id: str
    cursor: str
    stream_url: str


class PromptedView(View):
    """``POST /api/agents/{agent}/prompt``: what the agent said."""

    blocks: tuple[BlockView, ...]
    run: RunView
    thread_id: str
    context_id: str


def event_view(event: ThreadEvent) -> dict[str, Any]:
    """The data of an event, as JSON."""
    return {name: _plain(value) for name, value in event.data.items()}


def _plain(value: Any) -> Any:
    match value:
        case Block():
            return plain(BlockView.of(value))
        case Run():
            return plain(RunView.of(value))
    return value


def plain(view: View) -> dict[str, Any]:
    """A view as JSON; of a part only what it has."""
    return view.model_dump(mode="json", by_alias=True, exclude_unset=True)
