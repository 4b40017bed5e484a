"""The configuration: what stands under ``args`` in cluster.yaml, validated."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from actors.engine.vllm.workers import are_placed, num_workers
from actors.settings import (
    BrokerSettings,
    ClusterSettings,
    InferletSettings,
    ModelSettings,
    QueueSettings,
    SessionSettings,
    TopicSettings,
)
from api.answers.formats import CALL_FORMATS
from api.errors import InvalidRequest, reason_of
from api.settings import ApiSettings

EMBEDDED = "pocket"


def embedded_model() -> str:
    """The directory of the model that ships with the package."""
    return str(resources.files("actors.pocket") / "checkpoint")


def _share(total: int, share: float) -> int:
    return math.ceil(total * share)


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AutoscalingSettings(_Config):
    """How many actors of a model there are: as many as the load wants, between two bounds.

    Load is turns (running and waiting) against ``target_turns``, or the KV of turns and of contexts that are to be
    kept against ``target_kv_use``, whichever asks for more. Open connections do not count, nor does the KV of idle
    contexts that may be evicted: a cache is meant to be full.
    """

    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    target_turns: float = Field(16, gt=0)
    target_kv_use: float = Field(0.8, gt=0, le=1)
    upscale_delay_s: float = Field(10, ge=0)
    downscale_delay_s: float = Field(300, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> AutoscalingSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is larger than max_replicas")
        return self


class ModelConfig(_Config):
    """One model.

    Attributes:
        path: a local directory (the same on every node), or "pocket" for the embedded model.
        num_gpus, num_cpus: what Ray reserves for each actor of this model, in equal parts for its workers if Ray places
            them.
        engine: "auto" takes vllm where it is installed and a GPU is there, else torch.
        engine_args: settings of the engine, by their own names: ``TorchSettings``, or vLLM's ``AsyncEngineArgs``.
        adapters: LoRA adapters by name: local directories in PEFT's form, the same on every node.
        tool_format: how it writes calls of tools: a name of ``CALL_FORMATS``; None finds it out.
        start_timeout_s: an actor that is away for longer is given up and replaced.
    """

    name: str = Field(min_length=1, max_length=200)
    path: str = Field(EMBEDDED, validate_default=True)
    aliases: tuple[str, ...] = ()
    engine: Literal["auto", "torch", "vllm"] = "auto"
    engine_args: dict[str, Any] = Field(default_factory=dict)
    adapters: dict[Annotated[str, Field(min_length=1, max_length=200)], str] = Field(default_factory=dict)
    tool_format: str | None = None
    num_replicas: int = Field(1, ge=1)
    autoscaling: AutoscalingSettings | None = None
    num_gpus: float = Field(0, ge=0)
    num_cpus: float = Field(0, ge=0)
    orphan_timeout_s: float = Field(30, gt=0)
    max_warm_contexts: int = Field(256, ge=1)
    drain_timeout_s: float = Field(60, gt=0)
    start_timeout_s: float = Field(300, gt=0)

    @field_validator("path")
    @classmethod
    def _resolve(cls, path: str) -> str:
        return embedded_model() if path == EMBEDDED else str(Path(path).expanduser().resolve())

    @field_validator("adapters")
    @classmethod
    def _resolve_adapters(cls, adapters: dict[str, str]) -> dict[str, str]:
        return {name: str(Path(path).expanduser().resolve()) for name, path in adapters.items()}

    @field_validator("tool_format")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in CALL_FORMATS:
            raise ValueError(f"no format of tool calls is called {name!r}; there are: {', '.join(CALL_FORMATS)}")
        return name

    @model_validator(mode="after")
    def _has_a_gpu_for_each_worker(self) -> ModelConfig:
        try:
            number, one_each = num_workers(self.engine_args), are_placed(self.engine_args)
        except InvalidRequest as error:
            raise ValueError(f"model {self.name!r}: {reason_of(error)}") from None
        has_too_few = number > 1 and self.num_gpus < number
        if self.num_gpus and (has_too_few or (one_each and self.num_gpus != number)):
            wanted = f"{number} workers of vLLM take a GPU each" if number > 1 else "one worker of vLLM takes one GPU"
            raise ValueError(f"model {self.name!r}: {wanted}, and num_gpus is {self.num_gpus:g}")
        return self

    def settings(self, share: float) -> ModelSettings:
        """For the actors; ``share`` is one owner's."""
        return ModelSettings(
            name=self.name,
            path=self.path,
            aliases=self.aliases,
            engine=self.engine,
            engine_args=self.engine_args,
            adapters=self.adapters,
            tool_format=self.tool_format,
            orphan_timeout_s=self.orphan_timeout_s,
            owner_share=share,
            max_warm_contexts=self.max_warm_contexts,
        )


class SessionConfig(_Config):
    """Limits of sessions; see ``actors.settings.SessionSettings``.

    Attributes:
        max_sessions_per_owner: None is ``api.owner_share`` of ``max_sessions``; so are the same limits of inferlets and
            of topics.
    """

    pool_size: int = Field(2, ge=0, le=1000)
    max_processes: int = Field(200, ge=1)
    max_sessions: int = Field(10_000, ge=1)
    max_sessions_per_owner: int | None = Field(None, ge=1)
    max_queued_turns: int = Field(16, ge=0)
    idle_timeout_s: float | None = Field(7 * 86_400, gt=0)
    passivate_after_s: float = Field(600, gt=0)

    def settings(self, share: float) -> SessionSettings:
        """For the actors; ``share`` is one owner's."""
        fields = self.model_dump()
        fields["max_sessions_per_owner"] = self.max_sessions_per_owner or _share(self.max_sessions, share)
        return SessionSettings(**fields, max_processes_per_owner=_share(self.max_processes, share))


class TopicConfig(_Config):
    """What topics keep whose names match a pattern; see ``actors.settings.TopicSettings``."""

    pattern: str = Field(min_length=1, max_length=256)
    max_messages: int = Field(1024, ge=1, le=1_000_000)
    max_bytes: int = Field(16 << 20, ge=1024)
    retention_s: float = Field(600, gt=0)
    when_full: Literal["drop", "wait", "refuse"] = "drop"
    is_durable: bool = False


class QueueConfig(_Config):
    """What queues hold whose names match a pattern; see ``actors.settings.QueueSettings``."""

    pattern: str = Field(min_length=1, max_length=256)
    max_items: int = Field(10_000, ge=1, le=1_000_000)
    max_bytes: int = Field(64 << 20, ge=1024)
    lease_s: float = Field(60, gt=0)
    when_full: Literal["wait", "refuse"] = "wait"
    is_durable: bool = False


class BrokerConfig(_Config):
    """Topics and queues; see ``actors.settings.BrokerSettings``. The first pattern that matches a name counts."""

    num_shards: int = Field(1, ge=1, le=64)
    max_message_bytes: int = Field(1 << 20, ge=1, le=16 << 20)
    max_topics: int = Field(10_000, ge=1)
    max_topics_per_owner: int | None = Field(None, ge=1)
    max_subscriptions: int = Field(100_000, ge=1)
    reader_timeout_s: float = Field(30, ge=15)
    topics: tuple[TopicConfig, ...] = ()
    queues: tuple[QueueConfig, ...] = ()

    @model_validator(mode="after")
    def _messages_fit(self) -> BrokerConfig:
        entries: list[TopicConfig | QueueConfig] = [*self.topics, *self.queues]
        for entry in entries:
            if entry.max_bytes < self.max_message_bytes:
                raise ValueError(f"{entry.pattern!r}: max_bytes is smaller than one message may be")
        return self

    def settings(self, share: float) -> BrokerSettings:
        """For the actors; ``share`` is one owner's."""
        fields = self.model_dump(exclude={"topics", "queues"})
        fields["max_topics_per_owner"] = self.max_topics_per_owner or _share(self.max_topics, share)
        return BrokerSettings(
            **fields,
            topics=tuple(TopicSettings(**topic.model_dump()) for topic in self.topics),
            queues=tuple(QueueSettings(**queue.model_dump()) for queue in self.queues),
        )


class InferletConfig(_Config):
    """Limits of inferlets; see ``actors.settings.InferletSettings``."""

    pool_size: int = Field(2, ge=0, le=1000)
    max_processes: int = Field(100, ge=1)
    max_inferlets: int = Field(10_000, ge=1)
    max_inferlets_per_owner: int | None = Field(None, ge=1)
    programs: tuple[str, ...] = ()
    memory_limit_bytes: int = Field(1 << 30, ge=1 << 27)
    time_limit_s: float | None = Field(None, gt=0)
    max_blocking_s: float = Field(30, gt=0)
    max_outbox_messages: int = Field(10_000, ge=1)
    max_outbox_bytes: int = Field(16 << 20, ge=1 << 20)
    max_inbox_messages: int = Field(10_000, ge=1)
    max_inbox_bytes: int = Field(16 << 20, ge=1 << 20)
    max_output_chars: int = Field(1 << 20, ge=0)
    max_journal_bytes: int = Field(64 << 20, ge=1 << 20)
    passivate_after_s: float = Field(60, gt=0)
    linger_s: float = Field(5, gt=0)
    idle_timeout_s: float | None = Field(7 * 86_400, gt=0)
    keep_ended_s: float = Field(86_400, gt=0)
    replay_timeout_s: float = Field(60, gt=0)

    @field_validator("programs")
    @classmethod
    def _are_imports(cls, programs: tuple[str, ...]) -> tuple[str, ...]:
        for program in programs:
            module, colon, function = program.partition(":")
            if not (colon and function.isidentifier() and all(name.isidentifier() for name in module.split("."))):
                raise ValueError(f"{program!r} is not written module:function")
        return programs

    def settings(self, share: float) -> InferletSettings:
        """For the actors; ``share`` is one owner's."""
        fields = self.model_dump()
        fields["max_inferlets_per_owner"] = self.max_inferlets_per_owner or _share(self.max_inferlets, share)
        return InferletSettings(**fields, max_processes_per_owner=_share(self.max_processes, share))


class JournalConfig(_Config):
    """Where sessions are kept: a SQLite file on a local disk of the head node. Durable topics lie beside it."""

    path: str = "~/.greenroom/journal.db"
    synchronous: Literal["FULL", "NORMAL"] = "FULL"


class ListenConfig(_Config):
    """Where gateways on the head node answer HTTP themselves; without it they take it from Serve's proxies."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)


class GreenroomConfig(_Config):
    """The whole. The first model is the default one."""

    listen: ListenConfig | None = None

    models: tuple[ModelConfig, ...] = Field((ModelConfig(name=EMBEDDED),), min_length=1)
    sessions: SessionConfig = SessionConfig()
    broker: BrokerConfig = BrokerConfig()
    inferlets: InferletConfig = InferletConfig()
    journal: JournalConfig = JournalConfig()
    api: ApiSettings = ApiSettings()
    num_gateways: int = Field(1, ge=1)
    recovery_timeout_s: float = Field(60, gt=0)

    @model_validator(mode="after")
    def _names_differ(self) -> GreenroomConfig:
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        if len(names) != len(set(names)):
            raise ValueError("two models share a name or an alias")
        return self

    @property
    def share(self) -> float:
        """What part one owner may have. Without keys there is one owner, and it may have all."""
        return self.api.owner_share if self.api.api_keys else 1.0

    def settings(self) -> ClusterSettings:
        """For the actors."""
        share = self.share
        return ClusterSettings(
            models=tuple(model.settings(share) for model in self.models),
            sessions=self.sessions.settings(share),
            broker=self.broker.settings(share),
            inferlets=self.inferlets.settings(share),
            journal_path=self.journal.path,
            journal_synchronous=self.journal.synchronous,
            listens_at=(self.listen.host, self.listen.port) if self.listen else None,
            recovery_timeout_s=self.recovery_timeout_s,
        )
