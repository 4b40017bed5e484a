"""A run: one prompt being worked on in a thread."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from api.threads.blocks import BlockError

RunState = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
FailureReason = Literal["budget", "timeout", "model_error", "tool_error", "agent_error", "ask_expired", "worker_lost"]
CancelReason = Literal["user", "interrupted", "rollback", "deleted"]
Reason = FailureReason | CancelReason
ENDED: tuple[RunState, ...] = ("succeeded", "failed", "cancelled")

Label = tuple[str, str]
"""Key and value."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run has cost so far, summed over its steps."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """See the module. Times are seconds since the epoch.

    Attributes:
        prompt: the user's text, which is a block once the run has begun.
        reason: why it failed or was cancelled.
        metadata: the caller's own.
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

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Self:
        """From ``kept``."""
        error = kept["error"] and BlockError(**kept["error"])
        return cls(**(kept | {"usage": Usage(**kept["usage"]), "error": error}))

    @property
    def kept(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @property
    def is_over(self) -> bool:
        """It has ended."""
        return self.state in ENDED
