"""What the operator decides about actors; times are seconds, all of them deadlines or periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "greenroom"
"""The Ray namespace of every named actor of ours."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model: where it is, which engine runs it, and the limits of its actors.

    Attributes:
        path: a local directory, the same on every node.
        engine: "torch" or "vllm".
        engine_args: settings of the engine, by their own names.
        orphan_timeout_s: a running turn that nobody has read for so long is cancelled.
        log_retention_s: how long an ended turn's output stays readable when its session has not released it.
        poll_interval_s: least time between two frames of a running turn to one reader.
    """

    name: str
    path: str
    aliases: tuple[str, ...] = ()
    engine: str = "torch"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    orphan_timeout_s: float = 30.0
    log_retention_s: float = 300.0
    poll_interval_s: float = 0.02
    report_interval_s: float = 0.5
    sweep_interval_s: float = 1.0


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of sessions.

    Attributes:
        pool_size: started actors that wait for a session.
        max_queued_turns: turns that may wait for the running one.
        idle_timeout_s: a session unused for so long is closed and deleted; None for never.
        passivate_after_s: a session unused for so long gives its process back; its next call activates it again.
    """

    pool_size: int = 2
    max_sessions: int = 10_000
    max_sessions_per_owner: int = 10_000
    max_queued_turns: int = 16
    idle_timeout_s: float | None = 7 * 86_400.0
    passivate_after_s: float = 600.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Everything that the detached actors need to know; the first model is the default one.

    Attributes:
        journal_path: the SQLite file, on a disk of the head node.
        journal_synchronous: "FULL" outlives a power failure, "NORMAL" only the death of a process.
        recovery_timeout_s: how long a caller waits for a lost actor to come back before it is told "unavailable".
        model_timeout_s: a model actor that has not reported for so long gets no new turns.
    """

    models: tuple[ModelSettings, ...]
    sessions: SessionSettings = field(default_factory=SessionSettings)
    journal_path: str = "~/.greenroom/journal.db"
    journal_synchronous: str = "FULL"
    recovery_timeout_s: float = 60.0
    model_timeout_s: float = 5.0
    sweep_interval_s: float = 5.0
