"""The configuration: what is under ``args`` in cluster.yaml, validated."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from actors.engine.checkpoints.hub import pinned
from actors.engine.checkpoints.place import HubModel, place_of
from actors.engine.vllm.workers import are_placed, num_workers
from actors.settings import (
    AtLeastOne,
    BrokerSettings,
    ClusterSettings,
    InferletSettings,
    JournalSettings,
    ModelSettings,
    QueueSettings,
    Seconds,
    SessionSettings,
    TopicSettings,
)
from api.answers.formats import CALL_FORMATS
from api.errors import InvalidRequest, reason_of
from api.mcp_servers import McpServer
from api.settings import ApiSettings

EMBEDDED = "pocket"

MCP = "mcp"
"""Beside the agents; so no agent is called that."""

_SERVER = TypeAdapter(McpServer)

_MODEL, _CLUSTER = ModelSettings("", ""), ClusterSettings(())
"""What the actors' own settings say where the operator says nothing."""

AgentName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\x00-\x1f\x7f]+$")]

Limits = TypeVar("Limits", SessionSettings, InferletSettings, BrokerSettings)


def embedded_model() -> str:
    """The directory of the model that ships with the package."""
    return str(resources.files("actors.pocket") / "checkpoint")


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AutoscalingSettings(_Config):
    """How many actors of a model there are: as many as the load wants, between two bounds.

    Load is turns (running and waiting) against ``target_turns``, or the KV of turns and of contexts that are to be
    kept against ``target_kv_use``, whichever asks for more. Open connections do not count, nor does the KV of idle
    contexts that may be evicted: a cache is meant to be full.

    Attributes:
        min_replicas: with 0, the actors leave memory when nobody has used the model for ``passivate_after_s``. The next
            request starts one, and waits for it.
    """

    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(1, ge=1)
    target_turns: float = Field(16, gt=0)
    target_kv_use: float = Field(0.8, gt=0, le=1)
    upscale_delay_s: float = Field(10, ge=0)
    downscale_delay_s: float = Field(300, ge=0)
    passivate_after_s: Seconds = 300.0

    @model_validator(mode="after")
    def _ordered(self) -> AutoscalingSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is larger than max_replicas")
        return self


class ModelConfig(_Config):
    """One model.

    Attributes:
        path: a local directory or GGUF file (the same on every node), a model of the hub (``ORG/NAME``,
            ``ORG/NAME@REVISION``), or "pocket" for the embedded model; as text that ``place_of`` takes for the same.
        num_gpus, num_cpus: what Ray reserves for each actor of this model, in equal parts for its workers if Ray places
            them.
        engine: "auto" takes vllm where it is installed and a GPU is there, else torch.
        engine_args: settings of the engine, by their own names: ``TorchSettings``, or vLLM's ``AsyncEngineArgs``.
        adapters: LoRA adapters by name: local directories in PEFT's form, the same on every node.
        tool_format: how it writes calls of tools: a name of ``CALL_FORMATS``; None finds it out.
        embeddings: answer ``/v1/embeddings`` with it, which the torch engine can.
        owner_share: what part of it one owner may have; None: ``api.owner_share`` where there are keys, else all.
        start_timeout_s: an actor that is away for longer is given up and replaced; requests to a model that has left
            memory wait so long.
    """

    name: str = Field(min_length=1, max_length=200)
    path: str = Field(EMBEDDED, validate_default=True)
    aliases: tuple[str, ...] = ()
    engine: Literal["auto", "torch", "vllm"] = "auto"
    engine_args: dict[str, Any] = Field(default_factory=dict)
    adapters: dict[Annotated[str, Field(min_length=1, max_length=200)], str] = Field(default_factory=dict)
    tool_format: str | None = None
    embeddings: bool = False
    owner_share: float | None = Field(None, gt=0, le=1)
    num_replicas: int = Field(1, ge=1)
    autoscaling: AutoscalingSettings | None = None
    num_gpus: float = Field(0, ge=0)
    num_cpus: float = Field(0, ge=0)
    orphan_timeout_s: Seconds = _MODEL.orphan_timeout_s
    max_warm_contexts: AtLeastOne = _MODEL.max_warm_contexts
    drain_timeout_s: float = Field(60, gt=0)
    start_timeout_s: float = Field(300, gt=0)

    @field_validator("path")
    @classmethod
    def _resolve(cls, path: str) -> str:
        try:
            return embedded_model() if path == EMBEDDED else str(place_of(path))
        except InvalidRequest as error:
            raise ValueError(reason_of(error)) from None

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
    def _has_an_engine_for_embeddings(self) -> ModelConfig:
        if self.embeddings and self.engine == "vllm":
            raise ValueError(f"model {self.name!r}: embeddings need the torch engine")
        return self

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

    @property
    def is_passive(self) -> bool:
        """It is in memory only while it is used."""
        return self.autoscaling is not None and self.autoscaling.min_replicas == 0

    def pinned(self) -> ModelConfig:
        """The same, by its commit where it is a model of the hub.

        Raises:
            InvalidRequest: neither the hub nor the cache knows it.
        """
        place = place_of(self.path)
        return self.model_copy(update={"path": str(pinned(place))}) if isinstance(place, HubModel) else self

    def settings(self, share: float) -> ModelSettings:
        """For the actors; ``share`` is one owner's, where the operator does not say it."""
        passivate_after_s = self.autoscaling.passivate_after_s if self.autoscaling and self.is_passive else None
        return ModelSettings(
            name=self.name,
            path=self.path,
            aliases=self.aliases,
            engine=self.engine,
            engine_args=self.engine_args,
            adapters=self.adapters,
            tool_format=self.tool_format,
            embeddings=self.embeddings,
            orphan_timeout_s=self.orphan_timeout_s,
            owner_share=self.owner_share or share,
            max_warm_contexts=self.max_warm_contexts,
            passivate_after_s=passivate_after_s,
            start_timeout_s=self.start_timeout_s,
        )


class ListenConfig(_Config):
    """Where gateways answer HTTP themselves; without it they take it from Serve's proxies."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=1, le=65535)

    @property
    def is_everywhere(self) -> bool:
        """Whether it is at all addresses of a machine, which each has."""
        return self.host in ("", "0.0.0.0", "::")


class GreenroomConfig(_Config):
    """The whole. The first model is the default one.

    Attributes:
        agents: ``module:name`` by what callers call them; and under ``mcp`` the servers that they can have by name.
    """

    listen: ListenConfig | None = None

    models: tuple[ModelConfig, ...] = Field((ModelConfig(name=EMBEDDED),), min_length=1)
    sessions: SessionSettings = SessionSettings()
    broker: BrokerSettings = BrokerSettings()
    inferlets: InferletSettings = InferletSettings()
    agents: dict[AgentName, str | dict[str, dict[str, Any]]] = Field(default_factory=dict)
    journal: JournalSettings = JournalSettings()
    api: ApiSettings = ApiSettings()
    num_gateways: int = Field(2, ge=1)
    recovery_timeout_s: Seconds = _CLUSTER.recovery_timeout_s

    @model_validator(mode="after")
    def _names_differ(self) -> GreenroomConfig:
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        if len(names) != len(set(names)):
            raise ValueError("two models share a name or an alias")
        return self

    @model_validator(mode="after")
    def _messages_fit(self) -> GreenroomConfig:
        entries: list[TopicSettings | QueueSettings] = [*self.broker.topics, *self.broker.queues]
        for entry in entries:
            if entry.max_bytes < self.broker.max_message_bytes:
                raise ValueError(f"broker: {entry.pattern!r}: max_bytes is smaller than one message may be")
        return self

    @model_validator(mode="after")
    def _programs_are_imports(self) -> GreenroomConfig:
        for program in self.inferlets.programs:
            if not _is_import(program):
                raise ValueError(f"inferlets.programs: {program!r} is not written module:function")
        for name, path in self.agents.items():
            if name != MCP and not (isinstance(path, str) and _is_import(path)):
                raise ValueError(f"agents: {name}: {path!r} is not written module:name")
        return self

    @model_validator(mode="after")
    def _journal_names_a_database(self) -> GreenroomConfig:
        if self.journal.url is not None:
            parts = urlsplit(self.journal.url)
            if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
                raise ValueError("journal.url: postgresql://user@host:port/database is expected")
            if parts.password is not None or "password" in parts.query:
                raise ValueError("journal.url: put the password into ~/.pgpass or PGPASSWORD, not here")
        return self

    @model_validator(mode="after")
    def _servers_can_be_reached(self) -> GreenroomConfig:
        if any(server.is_reference for server in self.mcp_servers.values()):
            raise ValueError(f"agents.{MCP}: a server needs a command or a url")
        if self.inferlets.mcp_servers:
            raise ValueError(f"inferlets.mcp_servers: say it under agents.{MCP}")
        return self

    def pinned(self) -> GreenroomConfig:
        """The same with each model pinned: so all of a model's actors have the same weights, whenever they start.

        Raises:
            InvalidRequest: a model of the hub cannot be found.
        """
        return self.model_copy(update={"models": tuple(model.pinned() for model in self.models)})

    @property
    def gateways_need_head(self) -> bool:
        """Whether they listen where only the head node can, or on the node that has the journal's file."""
        return self.listen is not None and not (self.journal.url and self.listen.is_everywhere)

    @property
    def mcp_servers(self) -> dict[str, McpServer]:
        """Those that agents can have by their names."""
        written = self.agents.get(MCP, {})
        if isinstance(written, str):
            raise ValueError(f"agents.{MCP}: these are servers by their names, and no agent")
        return {name: _server(name, said) for name, said in written.items()}

    @property
    def share(self) -> float:
        """What part one owner may have. Without keys there is one owner, and it may have all."""
        return self.api.owner_share if self.api.api_keys else 1.0

    def settings(self) -> ClusterSettings:
        """For the actors."""
        share = self.share
        return ClusterSettings(
            models=tuple(model.settings(share) for model in self.models),
            sessions=_shared(self.sessions, share),
            broker=_shared(self.broker, share),
            inferlets=replace(_shared(self.inferlets, share), mcp_servers=self.mcp_servers),
            journal=self.journal,
            agents={name: path for name, path in self.agents.items() if isinstance(path, str)},
            listens_at=(self.listen.host, self.listen.port) if self.listen else None,
            recovery_timeout_s=self.recovery_timeout_s,
        )


def _server(name: str, said: dict[str, Any]) -> McpServer:
    try:
        return _SERVER.validate_python({**said, "name": name})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False))
        raise ValueError(f"agents.{MCP}.{name}: {'; '.join(problems)}") from None
    except InvalidRequest as error:
        raise ValueError(f"agents.{MCP}: {reason_of(error)}") from None


def _is_import(path: str) -> bool:
    """Whether it is written ``module:name``."""
    module, colon, name = path.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _shared(settings: Limits, share: float) -> Limits:
    """With this part of each limit for one owner, where the operator does not say it."""
    names = [found.name for found in fields(settings) if found.name.endswith("_per_owner")]
    unsaid = [name for name in names if getattr(settings, name) is None]
    shares = {name: math.ceil(getattr(settings, name.removesuffix("_per_owner")) * share) for name in unsaid}
    return replace(settings, **shares)
