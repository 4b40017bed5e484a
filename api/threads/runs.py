"""A run: one prompt being worked on in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, get_args

from api.threads.blocks import BlockError, Role

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
FailureReason = Literal[
    "budget", "timeout", "model_error", "tool_error", "agent_error", "output_invalid", "ask_expired", "worker_lost"
]
CancelReason = Literal["user", "interrupted", "parent", "rollback", "deleted"]
Reason = FailureReason | CancelReason
_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens", "model_calls", "tool_calls")
STATES: tuple[RunState, ...] = get_args(RunState)
ENDED: tuple[RunState, ...] = ("succeeded", "failed", "cancelled")

Label = tuple[str, str]
"""Key and value."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has cost so far, summed over its steps; ``of_children`` is that of all runs below it, if any."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    of_children: Usage | None = None

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        """From a run's ``kept``."""
        children = kept.get("of_children")
        return cls(**(kept | {"of_children": children and cls.of(children)}))

    @property
    def counts(self) -> dict[str, int]:
        """By name, without the runs below."""
        return {name: number for name in _COUNTS if (number := getattr(self, name))}

    @property
    def whole(self) -> Usage:
        """With the runs below, as one."""
        return replace(self, of_children=None).plus(self.of_children.counts if self.of_children else {})

    def plus(self, more: Mapping[str, int]) -> Usage:
        """With more of these, by name."""
        return replace(self, **{name: getattr(self, name) + number for name, number in more.items()})

    def plus_of_children(self, more: Mapping[str, int]) -> Usage:
        """With more of these, which a run below has cost."""
        return replace(self, of_children=(self.of_children or Usage()).plus(more))


def spent(usages: Iterable[Usage], told: Usage) -> Usage:
    """What these runs and those below them have cost since this was told of them."""
    total = Usage().plus({name: -number for name, number in told.whole.counts.items()})
    for usage in usages:
        total = total.plus(usage.whole.counts)
    return total


@dataclass(frozen=True, slots=True)
class Run:
    """See the module. Times are seconds since the epoch.

    Attributes:
        prompt: the user's text, which is a block once the run has begun.
        reason: why it failed or was cancelled.
        metadata: the caller's own.
        history: roles and texts of what was said elsewhere before, which its model reads first.
        parent_run_id: of a run that another one's call began, which has its number and one of its own: ``…r3c1``.
    """

    id: str
    agent: str
    thread_id: str
    context_id: str
    prompt: str
    created_at: float
    state: RunState = "queued"
    reason: Reason | None = None
    error: BlockError | None = None
    started_at: float | None = None
    ended_at: float | None = None
    usage: Usage = Usage()
    labels: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_run_id: str | None = None
    history: tuple[tuple[Role, str], ...] = ()

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        """From ``kept``."""
        error = kept["error"] and BlockError(**kept["error"])
        history = tuple((role, text) for role, text in kept.get("history", ()))
        return cls(**(kept | {"usage": Usage.of(kept["usage"]), "error": error, "history": history}))

    @property
    def kept(self) -> dict[str, Any]:
        """As plain JSON."""
        kept = asdict(self)
        if self.usage.of_children is None:  # as journals of earlier releases have it
            del kept["usage"]["of_children"]
        if not self.history:
            del kept["history"]
        return kept

    @classmethod
    def changed(cls, changes: dict[str, Any], known: Run | None) -> Run:
        """From ``changes_since`` this state of it."""
        run = cls.of(changes)
        if known is None:
            return run
        history = run.history or known.history
        return replace(run, prompt=run.prompt or known.prompt, metadata=run.metadata or known.metadata, history=history)

    def changes_since(self, known: Run | None) -> dict[str, Any]:
        """``kept``, with a prompt, metadata and a history that are empty where they are as they were then."""
        if known is None:
            return self.kept
        prompt = "" if self.prompt == known.prompt else self.prompt
        metadata = {} if self.metadata == known.metadata else self.metadata
        history = () if self.history == known.history else self.history
        return replace(self, prompt=prompt, metadata=metadata, history=history).kept

    def ended_as(self, state: RunState, reason: Reason, error: BlockError | None) -> Run:
        """The same, ended from outside."""
        return replace(self, state=state, reason=reason, error=error, ended_at=self.started_at or self.created_at)

    @property
    def is_over(self) -> bool:
        """It has ended."""
        return self.state in ENDED
