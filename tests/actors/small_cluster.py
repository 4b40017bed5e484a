"""Model actors, a directory and sessions as plain objects on one event loop, each of which a test can kill."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.exceptions import ActorDiedError

from actors.calls.interface import Interface
from actors.calls.scope import Scope
from actors.cluster.greenroom import Greenroom
from actors.contexts.reader import TurnReader
from actors.directory.directory import Directory
from actors.directory.ref import DIRECTORY_CALLS, directory_ref
from actors.engine.contract import Feature
from actors.engine.factory import build_engine
from actors.inferlets.actor import InferletSlot
from actors.inferlets.instance import Instance
from actors.inferlets.launcher import InferletFamily
from actors.inferlets.ports import InferletParts, Surroundings
from actors.journal.actor import JOURNAL_CALLS, journal_ref
from actors.journal.keys import INFERLET, SESSION
from actors.journal.sqlite import SqliteJournal
from actors.models.model import Model
from actors.models.ref import MODEL_CALLS, model_ref
from actors.pool.pool import SlotPool
from actors.sessions.actor import SessionSlot
from actors.sessions.session import SessionParts
from actors.settings import ClusterSettings, InferletSettings, ModelSettings, SessionSettings
from actors.topics.ref import BrokerRef
from api.inferlets import State
from tests.actors.fake_engine import FakeEngine, FakeTokenizer


class Loopback:
    """Stands for a Ray actor handle: ``handle.method.remote(...)`` runs on this loop, until ``kill``.

    A caller that is cancelled does not end the call. ``calls`` are those of an actor that is a plain object here.
    """

    def __init__(self, target: Any, name: str, calls: Interface[Any] | None = None) -> None:
        self.target = target
        self.name = name
        self._calls = calls
        self._died = asyncio.Event()
        self._actor_id = self

    def hex(self) -> str:
        """The actor's id."""
        return self.name

    def kill(self) -> None:
        """Every call in progress and every later one fails as on a dead actor, and its tasks end."""
        self._died.set()
        if isinstance(scope := getattr(self.target, "scope", None), Scope):
            scope.cancel()

    def revive(self, target: Any) -> None:
        """Restart with an empty memory."""
        self.target = target
        self._died = asyncio.Event()

    async def run(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """A call, as the actor's own class makes it."""
        if method == "call" and self._calls:
            return await self._calls.dispatch(self.target, *arguments)
        return await getattr(self.target, method)(*arguments)

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return _Method(self, method)


class _Method:
    def __init__(self, actor: Loopback, method: str) -> None:
        self._actor = actor
        self._method = method

    def remote(self, *arguments: Any) -> asyncio.Task[Any]:
        """Begin the call."""
        return asyncio.ensure_future(self._run(arguments))

    async def _run(self, arguments: tuple[Any, ...]) -> Any:
        died = self._actor._died
        if died.is_set():
            raise ActorDiedError()
        running = asyncio.ensure_future(self._actor.run(self._method, arguments))
        dying = asyncio.ensure_future(died.wait())
        try:
            await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            dying.cancel()
        if running.done() and not died.is_set():
            return running.result()
        running.cancel()
        await asyncio.gather(running, dying, return_exceptions=True)
        raise ActorDiedError()


async def cancel_others() -> None:
    """End every other task of this loop, and those that begin meanwhile."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class _NoMetrics:
    def activated(self, reason: str) -> None:
        """Nothing."""

    def sessions(self, num_active: int, num_total: int) -> None:
        """Nothing."""

    def inferlets(self, counts: Mapping[State, int]) -> None:
        """Nothing."""

    def serves(self, model: str) -> None:
        """Nothing."""

    def woken(self, model: str, waited_s: float | None) -> None:
        """Nothing."""


def kill_instance(instance: Instance) -> None:
    """Like the death of its process: what is not in the journal is gone, and nothing more is done."""
    instance._recorder.is_fenced = True
    instance.scope.cancel()
    run: Any = instance._run
    if run:
        run.host.close()
        run.desk._crossing.close()
        run.desk._works.stop()  # no function that waits for an answer keeps the tests' own process from ending
        run._thread.cancel()


class SmallCluster:
    """Everything but Ray. ``greenroom`` is what a Python caller holds."""

    model_settings = ModelSettings("fake", "nowhere", ("alias",), report_interval_s=0.01, poll_interval_s=0.001)

    def __init__(
        self,
        folder: Path,
        num_models: int = 1,
        inferlets: InferletSettings | None = None,
        topics: BrokerRef | None = None,
        model: ModelSettings | None = None,
        features: frozenset[Feature] = frozenset({"distribution"}),
        recovery_timeout_s: float = 10.0,
        engine: type[FakeEngine] = FakeEngine,
        tokenizer: type[FakeTokenizer] = FakeTokenizer,
        agents: Mapping[str, str] | None = None,
        **session_settings: Any,
    ) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self._is_fake = model is None
        self._features = features
        model = model or self.model_settings
        self.settings = ClusterSettings(
            (model,),
            SessionSettings(**session_settings),
            inferlets=inferlets or InferletSettings(pool_size=0, memory_limit_bytes=1 << 40),  # of all tests here
            agents=agents or {},
            recovery_timeout_s=recovery_timeout_s,
            sweep_interval_s=0.05,
        )
        self.topics = topics
        self._journal_file = folder / "journal.db"
        self.journal = SqliteJournal(self._journal_file, "NORMAL")
        self._journal_actor = Loopback(self.journal, "journal", JOURNAL_CALLS)
        self._journal_ref = journal_ref(self._journal_actor, 10.0)
        self.slots: dict[str, Loopback] = {}
        self.models: list[Loopback] = []
        self.engines: list[FakeEngine] = []
        self._num_models = num_models

    async def __aenter__(self) -> SmallCluster:
        await self.journal.start()
        self._directory = Loopback(self._make_directory(), "directory", DIRECTORY_CALLS)
        self.directory = directory_ref(self._directory, 10.0)
        self.inferlets = InferletFamily(self.directory, self._journal_ref, 10.0)
        self.greenroom = Greenroom(self.directory, self._journal_ref, 10.0, TurnReader(), self.topics or BrokerRef(()))
        for index in range(self._num_models):
            self.engines.append(self._engine())
            self.models.append(Loopback(None, f"model-{index}", MODEL_CALLS))
            await self.start_model(index)
        return self

    async def __aexit__(self, *error: object) -> None:
        for slot in self.slots.values():
            if isinstance(slot.target.tenant, Instance):
                kill_instance(slot.target.tenant)
        for index in range(len(self.models)):
            self.kill_model(index)
        while self.journal._committing:
            await self.journal._committing
        await cancel_others()
        await self.journal.stop()

    async def start_model(self, index: int, adapters: tuple[str, ...] = ("formal", "pirate")) -> None:
        """Start or restart a model actor, with nothing in its cache."""
        engine = self._engine(features=self._features, adapters=adapters)
        self.engines[index] = engine
        actor = self.models[index]
        model = Model(
            self.settings.models[0],
            (lambda settings: (engine.open, self._tokenizer())) if self._is_fake else build_engine,
            lambda: model_ref(actor),
            actor.kill,
            self.directory,
        )
        actor.revive(model)
        await model.start()

    def kill_model(self, index: int = 0) -> None:
        """Like kill -9."""
        self.models[index].kill()

    def kill_session(self, session_id: str) -> None:
        """Kill the actor that holds a session."""
        for slot in self.slots.values():
            session = slot.target.tenant
            if session and session.id == session_id:
                slot.kill()

    def kill_inferlet(self, instance_id: str) -> None:
        """Kill the actor that holds an inferlet; its thread can do nothing any longer."""
        for slot in self.slots.values():
            instance = slot.target.tenant
            if isinstance(instance, Instance) and instance.id == instance_id and not slot._died.is_set():
                slot.kill()
                kill_instance(instance)

    async def restart_journal(self) -> None:
        """Kill the journal and start another on its file. What it was writing is kept, what waited for that is not."""
        self._journal_actor.kill()
        self.journal._waiting.clear()
        await self.journal.stop()
        self.journal = SqliteJournal(self._journal_file, "NORMAL")
        await self.journal.start()
        self._journal_actor.revive(self.journal)

    def restart_directory(self) -> None:
        """Kill the directory and start another, with nothing in its memory."""
        self._directory.kill()
        self._directory.revive(self._make_directory())

    def _make_directory(self) -> Directory:
        limits: dict[str, SessionSettings | InferletSettings] = {
            SESSION: self.settings.sessions,
            INFERLET: self.settings.inferlets,
        }
        spawns = {SESSION: self._spawn_session, INFERLET: self._spawn_inferlet}
        pools = {
            kind: SlotPool(
                kind,
                limits[kind].pool_size,
                limits[kind].max_processes,
                spawns[kind],
                self._find,
                lambda actor: actor.kill(),
            )
            for kind in limits
        }
        return Directory(self.settings, self._journal_ref, pools, _NoMetrics())

    async def _spawn_session(self, name: str) -> Loopback:
        parts = SessionParts(
            self._journal_ref, self.directory, self.settings.sessions, self.settings.recovery_timeout_s
        )
        slot = self.slots[name] = Loopback(SessionSlot(name, parts, self.directory), name)
        return slot

    async def _spawn_inferlet(self, name: str) -> Loopback:
        slot = self.slots[name] = Loopback(None, name)
        family = InferletFamily(self.directory, self._journal_ref, 10.0)
        around = Surroundings(self._journal_ref, self.directory, family, self.topics)
        parts = InferletParts(
            self.directory, around, self.settings.inferlets, self.settings.recovery_timeout_s, slot.kill
        )
        slot.target = InferletSlot(name, parts, self.directory)
        return slot

    async def _find(self) -> Mapping[str, Any]:
        return {name: slot for name, slot in self.slots.items() if not slot._died.is_set()}
