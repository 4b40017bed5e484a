"""What the operator decides about actors; times are seconds, all of them deadlines or periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

NAMESPACE = "greenroom"
"""The Ray namespace of every named actor of ours."""

EDGE: Mapping[str, Any] = {"extra": "forbid", "hide_input_in_errors": True}
"""How pydantic validates what an operator writes; here inside, bounds are not checked again."""

AtLeastOne = Annotated[int, Ge(1)]
Seconds = Annotated[float, Gt(0)]
Pattern = Annotated[str, MinLen(1), MaxLen(256)]
"""Of names, with ``*`` and ``?``; the first entry that matches counts."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model: where it is, which engine runs it, and the limits of its actors.

    Attributes:
        path: a local directory or GGUF file, the same on every node; or a model of the hub, ``hf://ORG/NAME@COMMIT``.
        engine: "torch", "vllm", or "auto": vllm where it is installed and a GPU is there, else torch.
        engine_args: settings of the engine, by their own names.
        adapters: the directories of its LoRA adapters, by name.
        tool_format: the name of its format of tool calls; None to find it out from its chat template.
        embeddings: it makes embeddings too.
        owner_share: one owner's turns may have this part of the queue; and of each step, where others have turns too.
        orphan_timeout_s: a running turn that nobody has read for so long is cancelled.
        log_retention_s: how long an ended turn's output stays readable when nobody has read it to its end.
        poll_interval_s: least time between two frames of a running turn to one reader.
        max_warm_contexts: that an actor keeps for requests without a session, which begin as an earlier one did.
        passivate_after_s: its actors leave memory when nobody has used them for so long, and the next request waits for
            one; None for never.
        start_timeout_s: that request waits so long.
    """

    FIXED: ClassVar[tuple[str, ...]] = ("name", "path", "engine", "engine_args", "tool_format", "embeddings")
    """What an actor is started with; it takes the others while it runs."""

    name: str
    path: str
    aliases: tuple[str, ...] = ()
    engine: str = "auto"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    adapters: Mapping[str, str] = field(default_factory=dict)
    tool_format: str | None = None
    embeddings: bool = False
    owner_share: float = 1.0
    orphan_timeout_s: float = 30.0
    log_retention_s: float = 300.0
    poll_interval_s: float = 0.02
    report_interval_s: float = 0.5
    sweep_interval_s: float = 1.0
    max_warm_contexts: int = 256
    passivate_after_s: float | None = None
    start_timeout_s: float = 300.0

    def differences(self, other: ModelSettings) -> tuple[str, ...]:
        """The names of the settings in which they differ."""
        names = (one.name for one in fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Limits of sessions.

    Attributes:
        pool_size: started actors that wait for a session.
        max_processes: actors at one time, the waiting ones included; where one more is needed, one that is idle gives
            its process back early.
        max_processes_per_owner: of them for one owner, whose idle ones are passivated early in the same way. Here and
            in the other limits of one owner, None is all: a configuration makes it ``api.owner_share`` of that.
        max_queued_turns: turns that may wait for the running one.
        idle_timeout_s: a session unused for so long is closed and deleted; None for never.
        passivate_after_s: a session unused for so long gives its process back; its next call activates it again.
    """

    __pydantic_config__: ClassVar[Any] = EDGE

    pool_size: Annotated[int, Ge(0), Le(1000)] = 2
    max_processes: AtLeastOne = 200
    max_processes_per_owner: AtLeastOne | None = None
    max_sessions: AtLeastOne = 10_000
    max_sessions_per_owner: AtLeastOne | None = None
    max_queued_turns: Annotated[int, Ge(0)] = 16
    idle_timeout_s: Seconds | None = 7 * 86_400.0
    passivate_after_s: Seconds = 600.0


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """What topics whose names match a pattern keep, and what happens when one is full.

    Attributes:
        retention_s: a message is kept for so long.
        when_full: for a subscriber that is ``max_messages`` behind: "drop" drops the oldest and tells it, "wait" lets
            publishers wait for it, "refuse" refuses them.
        is_durable: messages outlive the broker's process, and are accepted once that is so.
    """

    __pydantic_config__: ClassVar[Any] = EDGE

    pattern: Pattern
    max_messages: Annotated[int, Ge(1), Le(1_000_000)] = 1024
    max_bytes: Annotated[int, Ge(1024)] = 16 << 20
    retention_s: Seconds = 600.0
    when_full: Literal["drop", "wait", "refuse"] = "drop"
    is_durable: bool = False


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What queues whose names match a pattern hold.

    Attributes:
        lease_s: time that a consumer has to acknowledge an item, unless it says otherwise.
        when_full: "wait" lets ``push`` wait, "refuse" refuses it.
        is_durable: items outlive the broker's process, and who has them too.
    """

    __pydantic_config__: ClassVar[Any] = EDGE

    pattern: Pattern
    max_items: Annotated[int, Ge(1), Le(1_000_000)] = 10_000
    max_bytes: Annotated[int, Ge(1024)] = 64 << 20
    lease_s: Seconds = 60.0
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

    __pydantic_config__: ClassVar[Any] = EDGE

    num_shards: Annotated[int, Ge(1), Le(64)] = 1
    max_message_bytes: Annotated[int, Ge(1), Le(16 << 20)] = 1 << 20
    max_topics: AtLeastOne = 10_000
    max_topics_per_owner: AtLeastOne | None = None
    max_subscriptions: AtLeastOne = 100_000
    reader_timeout_s: Annotated[float, Ge(15)] = 30.0
    idle_timeout_s: Seconds = 600.0
    poll_interval_s: Annotated[float, Ge(0)] = 0.005
    topics: tuple[TopicSettings, ...] = ()
    queues: tuple[QueueSettings, ...] = ()

    def topic(self, name: str) -> TopicSettings:
        """The settings of a topic."""
        return next((entry for entry in self.topics if fnmatchcase(name, entry.pattern)), TopicSettings("*"))

    def queue(self, name: str) -> QueueSettings:
        """The settings of a queue."""
        return next((entry for entry in self.queues if fnmatchcase(name, entry.pattern)), QueueSettings("*"))


@dataclass(frozen=True, slots=True)
class InferletSettings:
    """Limits of inferlets.

    Attributes:
        pool_size: started actors that wait for an inferlet.
        max_processes, max_processes_per_owner: as for sessions.
        programs: what may be launched as ``module:function``.
        memory_limit_bytes: resident memory of the process; above it the inferlet fails (of a thread, its runs).
        time_limit_s: from launch to end; None for none.
        max_blocking_s: a program that has not yielded for so long fails (of a thread, its runs).
        max_outbox_messages, max_outbox_bytes: sent and not read by anybody yet; more, and ``send`` waits. Of one that
            has continued as new, so much of what was read before is kept.
        max_inbox_messages, max_inbox_bytes: sent to it and not received yet; more are refused. Of one that has
            continued as new, so much of what it had received is kept, and known by its keys.
        max_output_chars: of standard output and error together; the rest is not kept.
        max_journal_bytes: of all that is kept of one, to run it again; it grows with the program's life, and beyond
            this the program fails. Only what came after it last continued as new counts; of a thread, what came after
            its last run, and a third of it ends a run.
        linger_s: an ended one stays for so long for those who are to read its end.
        passivate_after_s: one that has waited for its clients for so long gives its process back.
        idle_timeout_s: one for which nothing has happened for so long is deleted; None for never. See ``Lifetime``.
        keep_ended_s: the events of an ended one are kept for so long.
        replay_timeout_s: one that is replayed and does not reach its next recorded call in time fails.
        mcp_servers: ``McpServer``s that agents can have by their names; a configuration says them under ``agents.mcp``.
    """

    __pydantic_config__: ClassVar[Any] = EDGE

    pool_size: Annotated[int, Ge(0), Le(1000)] = 2
    max_processes: AtLeastOne = 100
    max_processes_per_owner: AtLeastOne | None = None
    max_inferlets: AtLeastOne = 10_000
    max_inferlets_per_owner: AtLeastOne | None = None
    programs: tuple[str, ...] = ()
    memory_limit_bytes: Annotated[int, Ge(1 << 27)] = 1 << 30
    time_limit_s: Seconds | None = None
    max_blocking_s: Seconds = 30.0
    max_outbox_messages: AtLeastOne = 10_000
    max_outbox_bytes: Annotated[int, Ge(1 << 20)] = 16 << 20
    max_inbox_messages: AtLeastOne = 10_000
    max_inbox_bytes: Annotated[int, Ge(1 << 20)] = 16 << 20
    max_output_chars: Annotated[int, Ge(0)] = 1 << 20
    max_journal_bytes: Annotated[int, Ge(1 << 20)] = 64 << 20
    passivate_after_s: Seconds = 60.0
    linger_s: Seconds = 5.0
    idle_timeout_s: Seconds | None = 7 * 86_400.0
    keep_ended_s: Seconds = 86_400.0
    replay_timeout_s: Seconds = 60.0
    mcp_servers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where sessions, inferlets and durable topics are kept: SQLite files on a local disk of the head node, or a
    PostgreSQL database.

    Attributes:
        synchronous: of the file: "FULL" outlives a power failure, "NORMAL" only the death of a process.
        url: ``postgresql://user@host:port/database``, in place of the file. The password is where the server's own
            clients look for it: in ``~/.pgpass`` or the environment of the nodes (``PGPASSWORD``, ``PGPASSFILE``).
    """

    __pydantic_config__: ClassVar[Any] = EDGE

    path: str = "~/.greenroom/journal.db"
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    url: str | None = None

    @property
    def place(self) -> str:
        """What is said of it to people."""
        return self.url or self.path

    def is_at(self, other: JournalSettings) -> bool:
        """Whether both are the same file of this machine, or the same database."""
        files = (Path(settings.path).expanduser().resolve() for settings in (self, other))
        return self.url == other.url and (self.url is not None or next(files) == next(files))


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Everything that the detached actors need to know; the first model is the default one.

    Attributes:
        agents: ``module:name`` of those that everybody may prompt, by name.
        listens_at: host and port where gateways listen themselves; None where a proxy does.
        recovery_timeout_s: how long a caller waits for a lost actor to come back before it is told "unavailable".
        model_timeout_s: a model actor that has not reported for so long gets no new turns.
    """

    models: tuple[ModelSettings, ...]
    sessions: SessionSettings = field(default_factory=SessionSettings)
    broker: BrokerSettings = field(default_factory=BrokerSettings)
    inferlets: InferletSettings = field(default_factory=InferletSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)
    listens_at: tuple[str, int] | None = None
    agents: Mapping[str, str] = field(default_factory=dict)
    recovery_timeout_s: float = 60.0
    model_timeout_s: float = 5.0
    sweep_interval_s: float = 5.0
