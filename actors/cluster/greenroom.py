"""Greenroom as a Python caller in the cluster sees it, and as the gateway hands it to the routes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
from typing_extensions import override

from actors.calls.ray import named, patiently
from actors.cluster.assembly import DirectoryActor
from actors.contexts.context import ContextRef
from actors.contexts.marks import prompt_marks
from actors.contexts.placed import Contents
from actors.contexts.reader import TurnReader
from actors.contexts.stream import OwnTurnStream
from actors.directory.directory import check_shards as check_number
from actors.directory.ref import directory_ref
from actors.inferlets.launcher import Inferlets
from actors.inferlets.thread_agents import ThreadAgents
from actors.journal.actor import JournalActor, journal_ref
from actors.models.ref import Placement
from actors.sessions.ref import SessionRef
from actors.settings import NAMESPACE, ClusterSettings
from actors.topics.actor import BrokerActor
from actors.topics.ref import BrokerRef
from api.callers.agent_ref import AgentRef
from api.cluster import AdapterInfo, Cluster, ModelInfo, Retention, SessionOptions, SessionSummary, Warmth
from api.errors import ModelLost, Unavailable
from api.topics import Topics
from api.turns import TurnRequest

JOURNAL, DIRECTORY, BROKER = "journal", "directory", "broker"
"""Names of the actors that there is one of; the broker's shards, where there are several, have it with a number."""

HEAD = {"node:__internal_head__": 0.001}
"""Where they run, if the journal's files are there; else anywhere."""

_OPTIONS: dict[str, Any] = {
    "namespace": NAMESPACE,
    "lifetime": "detached",
    "get_if_exists": True,
    "max_restarts": -1,
    "max_concurrency": 10_000,
    "num_cpus": 0,
    "scheduling_strategy": "DEFAULT",
    "enable_task_events": False,
}


@dataclass(frozen=True, slots=True)
class Greenroom(Inferlets, Cluster):
    """The cluster; a ``Cluster``. One per process and event loop. Make it with ``ensure`` or ``connect``.

    ``spellers`` are the places of the model actors that tell the texts of tokens, by the names of models.
    """

    reader: TurnReader
    broker: BrokerRef
    spellers: dict[str | None, Placement] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    async def connect(cls, timeout_s: float = 60.0, wait_s: float = 0.0) -> Greenroom:
        """The Greenroom that runs on the Ray cluster this process is connected to, or will within ``wait_s``.

        Raises:
            Unavailable: there is none.
        """
        return await patiently(partial(cls._find, timeout_s), Unavailable, wait_s, retry_s=0.2)

    @classmethod
    async def ensure(cls, settings: ClusterSettings) -> Greenroom:
        """The same, with its journal and its directory started where they do not run, and with these settings.

        Raises:
            InvalidRequest: see ``configure``.
        """
        await check_shards(settings.broker.num_shards)
        brokers, directory, journal = await asyncio.to_thread(_ensure_actors, settings)
        broker = BrokerRef(brokers, settings.recovery_timeout_s, settings.broker.max_message_bytes)
        greenroom = cls._of(directory, journal, broker, settings.recovery_timeout_s)
        await greenroom.configure(settings)
        return greenroom

    async def configure(self, settings: ClusterSettings) -> None:
        """Change the settings of the Greenroom that runs, of sessions and inferlets that are there too.

        What waits here goes on with the ``recovery_timeout_s`` that this was made with; processes that are started from
        now on have the new one. The journal stays, and a session has the ``idle_timeout_s`` that it was opened with.

        Raises:
            InvalidRequest: the number of the broker's shards is another.
        """
        await self.directory.configure(settings)
        self.broker.max_message_bytes = settings.broker.max_message_bytes

    @classmethod
    async def _find(cls, timeout_s: float) -> Greenroom:
        directory = await asyncio.to_thread(named, DIRECTORY)
        settings = (await directory_ref(directory, timeout_s).settings()).broker
        journal = await asyncio.to_thread(named, JOURNAL)
        actors = await asyncio.to_thread(_named_brokers, settings.num_shards)
        return cls._of(directory, journal, BrokerRef(actors, timeout_s, settings.max_message_bytes), timeout_s)

    @classmethod
    def _of(cls, directory: Any, journal: Any, broker: BrokerRef, timeout_s: float) -> Greenroom:
        ref = directory_ref(directory, timeout_s)
        return cls(ref, journal_ref(journal, timeout_s), timeout_s, TurnReader(), broker)

    @property
    @override
    def topics(self) -> Topics:
        return self.broker

    @property
    @override
    def agents(self) -> ThreadAgents:
        return ThreadAgents(self.directory, self.journal, self.timeout_s)

    def agent(self, name: str, owner: str = "") -> AgentRef:
        """An agent, to be prompted."""
        return AgentRef(name, owner, self.agents)

    @override
    async def models(self) -> tuple[ModelInfo, ...]:
        return await self.directory.models()

    @override
    async def adapters(self, model: str | None) -> tuple[AdapterInfo, ...]:
        return await self.directory.adapters(model)

    @override
    async def load_adapter(self, model: str | None, name: str, path: str) -> None:
        await self.directory.load_adapter(model, name, path)

    @override
    async def unload_adapter(self, model: str | None, name: str) -> bool:
        return await self.directory.unload_adapter(model, name)

    @override
    async def tokenize(self, model: str | None, text: str) -> tuple[int, ...]:
        async def attempt() -> tuple[int, ...]:
            return await (await self.directory.place(model, "")).model.tokenize(text)

        try:
            return await patiently(attempt, ModelLost, self.timeout_s)
        except ModelLost:
            raise Unavailable("no model actor answers") from None

    @override
    async def token_bytes(self, model: str | None, ids: Sequence[int]) -> tuple[bytes, ...]:
        speller, lost = self.spellers.get(model), None
        if speller is not None:
            try:
                return await speller.model.token_bytes(ids)
            except ModelLost:
                lost = speller.incarnation
        speller = self.spellers[model] = await self.directory.place(model, "", lost)
        return await speller.model.token_bytes(ids)

    @override
    async def generate(
        self,
        model: str | None,
        request: TurnRequest,
        owner: str = "",
        warmth: Warmth = "cold",
        hint: str = "",
        keep_s: float = 0.0,
    ) -> OwnTurnStream:
        marks = () if warmth == "cold" else prompt_marks(model or "", owner, request, hint)
        placement = await self.directory.place(model, "", marks=marks)
        context = ContextRef(
            self.directory,
            f"temporary-{request.turn_id}",
            placement.name,
            self.timeout_s,
            owner,
            Retention("drop" if warmth != "kept" else "keep" if keep_s else "adaptive"),
            placement,
            is_temporary=warmth != "kept",
            is_warm=warmth != "cold",
            keep_s=keep_s,
        )
        run = context.run(request, Contents())
        await run.start()
        return OwnTurnStream(run, self.reader)

    @override
    async def open_session(self, options: SessionOptions, owner: str = "") -> SessionRef:
        location = await self.directory.open(uuid.uuid4().hex, owner, options)
        return SessionRef(location, self.directory, self.reader, self.timeout_s)

    @override
    async def session(self, session_id: str, owner: str = "") -> SessionRef:
        location = await self.directory.locate(session_id, owner=owner)
        return SessionRef(location, self.directory, self.reader, self.timeout_s)

    @override
    async def sessions(self, owner: str = "") -> tuple[SessionSummary, ...]:
        return await self.directory.sessions(owner)


def _broker_names(num_shards: int) -> list[str]:
    return [BROKER] if num_shards == 1 else [f"{BROKER}-{shard}" for shard in range(num_shards)]


def _named_brokers(num_shards: int) -> list[Any]:
    return [named(name) for name in _broker_names(num_shards)]


async def check_shards(num_shards: int) -> None:
    """Whether the broker can have this number of shards.

    Raises:
        InvalidRequest: a Greenroom runs, and has another number.
    """
    try:
        directory = await asyncio.to_thread(named, DIRECTORY)
    except Unavailable:
        return
    check_number((await directory_ref(directory).settings()).broker.num_shards, num_shards)


def _options(settings: ClusterSettings) -> dict[str, Any]:
    return _OPTIONS if settings.journal.url else {**_OPTIONS, "resources": HEAD}


def _ensure_brokers(settings: ClusterSettings) -> list[Any]:
    return [
        BrokerActor.options(name=name, **_options(settings)).remote(settings.broker, shard, settings.journal)
        for shard, name in enumerate(_broker_names(settings.broker.num_shards))
    ]


def _ensure_actors(settings: ClusterSettings) -> tuple[list[Any], Any, Any]:
    brokers = _ensure_brokers(settings)
    cluster = ray.get_runtime_context().get_session_name()  # that of a head which is started again on the same Redis
    journal = JournalActor.options(name=JOURNAL, **_options(settings)).remote(settings.journal, cluster)
    directory = DirectoryActor.options(name=DIRECTORY, **_options(settings)).remote(settings, journal, brokers)
    ray.get(directory.start.remote())
    return brokers, directory, journal
