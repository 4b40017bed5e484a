"""What the operator decides about actors; times are seconds, all of them deadlines or periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

NAMESPACE = "greenroom"
"""The Ray namespace of every named actor of ours."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model: where it is, which engine runs it, and the limits of its actors.

    Attributes:
        path: a local directory, the same on every node.
        engine: "torch", "vllm", or "auto": vllm where it is installed and a GPU is there, else torch.
        engine_args: settings of the engine, by their own names.
        adapters: the directories of its LoRA adapters, by name.
        tool_format: the name of its format of tool calls; None to find it out from its chat template.
        owner_share: one owner's turns may have this part of the queue; and of each step, where others have turns too.
        orphan_timeout_s: a running turn that nobody has read for so long is cancelled.
        log_retention_s: how long an ended turn's output stays readable when nobody has read it to its end.
        poll_interval_s: least time between two frames of a running turn to one reader.
        max_warm_contexts: that an actor keeps for requests without a session, which begin as an earlier one did.
    """

    name: str
    path: str
    aliases: tuple[str, ...] = ()
    engine: str = "auto"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    tool_format: str | None = None
    owner_share: float = 1.0
    orphan_timeout_s: float = 30.0
    log_retention_s: float = 300.0
    poll_interval_s: float = 0.02
    report_interval_s: float = 0.5
    sweep_interval_s: float = 1.0
    max_warm_contexts: int = 256


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of sessions.

    Attributes:
        pool_size: started actors that wait for a session.
        max_processes: actors at one time, the waiting ones included; where one more is needed, one that is idle gives
            its process back early.
        max_processes_per_owner: of them for one owner, whose idle ones give theirs back early in the same way.
        max_queued_turns: turns that may wait for the running one.
        idle_timeout_s: a session unused for so long is closed and deleted; None for never.
        passivate_after_s: a session unused for so long gives its process back; its next call activates it again.
    """

    pool_size: int = 2
    max_processes: int = 200
    max_processes_per_owner: int = 200
    max_sessions: int = 10_000
    max_sessions_per_owner: int = 10_000
    max_queued_turns: int = 16
    idle_timeout_s: float | None = 7 * 86_400.0
    passivate_after_s: float = 600.0


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What topics whose names match a pattern keep, and what happens when one is full.

    Attributes:
        pattern: of names, with ``*`` and ``?``; the first entry that matches counts.
        retention_s: a message is kept for so long.
        when_full: for a subscriber that is ``max_messages`` behind: "drop" drops the oldest and tells it, "wait" lets
            publishers wait for it, "refuse" refuses them.
        is_durable: messages outlive the broker's process, and are accepted once that is so.
    """

    pattern: str = "*"
    max_messages: int = 1024
    max_bytes: int = 16 << 20
    retention_s: float = 600.0
    when_full: Literal["drop", "wait", "refuse"] = "drop"
    is_durable: bool = False


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What queues whose names match a pattern hold.

    Attributes:
        pattern: of names, with ``*`` and ``?``; the first entry that matches counts.
        lease_s: time that a consumer has to acknowledge an item, unless it says otherwise.
        when_full: "wait" lets ``push`` wait, "refuse" refuses it.
        is_durable: items outlive the broker's process, and who has them too.
    """

    pattern: str = "*"
    max_items: int = 10_000
    max_bytes: int = 64 << 20
    lease_s: float = 60.0
    when_full: Literal["wait", "refuse"] = "wait"
    is_durable: bool = False


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Limits of the broker, for each of its shards.

    Attributes:
        num_shards: actors among which topics are spread by name. Changing it moves topics: those that are not
            durable begin anew.
        max_topics: topics and queues.
        reader_timeout_s: the subscriptions and items of a process that has been silent for so long are given up.
        idle_timeout_s: an empty topic or queue that nobody reads and that is not durable is forgotten after so long.
        poll_interval_s: least time between two batches to one process.
    """

    num_shards: int = 1
    max_message_bytes: int = 1 << 20
    max_topics: int = 10_000
    max_topics_per_owner: int = 10_000
    max_subscriptions: int = 100_000
    reader_timeout_s: float = 30.0
    idle_timeout_s: float = 600.0
    poll_interval_s: float = 0.005
    topics: tuple[TopicSettings, ...] = ()
    queues: tuple[QueueSettings, ...] = ()

    def topic(self, name: str) -> TopicSettings:
        """The settings of a topic."""
        return next((entry for entry in self.topics if fnmatchcase(name, entry.pattern)), TopicSettings())

    def queue(self, name: str) -> QueueSettings:
        """The settings of a queue."""
        return next((entry for entry in self.queues if fnmatchcase(name, entry.pattern)), QueueSettings())


@dataclass(frozen=True, slots=True)
class InferletSettings:
    """Limits of inferlets.

    Attributes:
        pool_size: started actors that wait for an inferlet.
        max_processes, max_processes_per_owner: as for sessions.
        programs: what may be launched as ``module:function``.
        memory_limit_bytes: resident memory of the process; above it the inferlet fails.
        time_limit_s: from launch to end; None for none.
        max_blocking_s: a program that has not yielded for so long fails.
        max_outbox_messages, max_outbox_bytes: sent and not read by anybody yet; more, and ``send`` waits.
        max_inbox_messages, max_inbox_bytes: sent to it and not received yet; more are refused.
        max_output_chars: of standard output and error together; the rest is not kept.
        max_journal_bytes: of all that is kept of one, to run it again; it grows with the program's life, and beyond
            this the program fails.
        linger_s: an ended one stays for so long for those who are to read its end.
        passivate_after_s: one that has waited for its clients for so long gives its process back.
        idle_timeout_s: one for which nothing has happened for so long is deleted; None for never.
        keep_ended_s: the events of an ended one are kept for so long.
        replay_timeout_s: one that is taken up again and does not come to its next recorded call in time fails.
    """

    pool_size: int = 2
    max_processes: int = 100
    max_processes_per_owner: int = 100
    max_inferlets: int = 10_000
    max_inferlets_per_owner: int = 10_000
    programs: tuple[str, ...] = ()
    memory_limit_bytes: int = 1 << 30
    time_limit_s: float | None = None
    max_blocking_s: float = 30.0
    max_outbox_messages: int = 10_000
    max_outbox_bytes: int = 16 << 20
    max_inbox_messages: int = 10_000
    max_inbox_bytes: int = 16 << 20
    max_output_chars: int = 1 << 20
    max_journal_bytes: int = 64 << 20
    passivate_after_s: float = 60.0
    linger_s: float = 5.0
    idle_timeout_s: float | None = 7 * 86_400.0
    keep_ended_s: float = 86_400.0
    replay_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Everything that the detached actors need to know; the first model is the default one.

    Attributes:
        journal_path: the SQLite file, on a disk of the head node.
        journal_synchronous: "FULL" outlives a power failure, "NORMAL" only the death of a process.
        listens_at: host and port where gateways listen themselves; None where a proxy does.
        recovery_timeout_s: how long a caller waits for a lost actor to come back before it is told "unavailable".
        model_timeout_s: a model actor that has not reported for so long gets no new turns.
    """

    models: tuple[ModelSettings, ...]
    sessions: SessionSettings = field(default_factory=SessionSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    inferlets: InferletSettings = field(default_factory=InferletSettings)
    journal_path: str = "~/.greenroom/journal.db"
    journal_synchronous: str = "FULL"
    listens_at: tuple[str, int] | None = None
    recovery_timeout_s: float = 60.0
    model_timeout_s: float = 5.0
    sweep_interval_s: float = 5.0
