"""Model actors, a directory and sessions as plain objects on one event loop, each of which a test can kill."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.exceptions import ActorDiedError

from actors.broker_ref import BrokerRef
from actors.directory import Directory
from actors.directory_ref import DirectoryRef
from actors.greenroom import Greenroom
from actors.journal.sqlite import SqliteJournal
from actors.model import Model
from actors.model_ref import ModelRef
from actors.session import SessionParts
from actors.session_actor import SessionSlot
from actors.settings import ClusterSettings, ModelSettings, SessionSettings
from actors.slot_pool import SlotPool
from actors.turn_reader import TurnReader
from tests.actors.fake_engine import FakeEngine, FakeTokenizer


class Loopback:
    """Stands for a Ray actor handle: ``handle.method.remote(...)`` runs on this loop, until ``kill``."""

    def __init__(self, target: Any, name: str) -> None:
        self.target = target
        self.name = name
        self._died = asyncio.Event()
        self._actor_id = self

    def hex(self) -> str:
        """The actor's id."""
        return self.name

    def kill(self) -> None:
        """Every call in progress and every later one fails as on a dead actor."""
        self._died.set()

    def revive(self, target: Any) -> None:
        """Restart with an empty memory."""
        self.target = target
        self._died = asyncio.Event()

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
        running = asyncio.ensure_future(getattr(self._actor.target, self._method)(*arguments))
        dying = asyncio.ensure_future(died.wait())
        try:
            await asyncio.wait([running, dying], return_when=asyncio.FIRST_COMPLETED)
            if running.done() and not died.is_set():
                return running.result()
            raise ActorDiedError()
        finally:
            running.cancel()
            dying.cancel()
            await asyncio.gather(running, dying, return_exceptions=True)


class _NoMetrics:
    def activated(self, reason: str) -> None:
        """Nothing."""

    def sessions(self, num_active: int, num_total: int) -> None:
        """Nothing."""


class SmallCluster:
    """Everything but Ray. ``greenroom`` is what a Python caller holds."""

    def __init__(self, folder: Path, num_models: int = 1, **session_settings: Any) -> None:
        model = ModelSettings("fake", "nowhere", ("alias",), report_interval_s=0.01, poll_interval_s=0.001)
        self.settings = ClusterSettings(
            (model,),
            SessionSettings(**session_settings),
            recovery_timeout_s=10.0,
            sweep_interval_s=0.05,
        )
        self.journal = SqliteJournal(folder / "journal.db", "NORMAL")
        self.slots: dict[str, Loopback] = {}
        self.models: list[Loopback] = []
        self.engines: list[FakeEngine] = []
        self._num_models = num_models

    async def __aenter__(self) -> SmallCluster:
        await self.journal.start()
        self._directory = Loopback(self._make_directory(), "directory")
        self.directory = DirectoryRef(self._directory, 10.0)
        self.greenroom = Greenroom(self.directory, TurnReader(), BrokerRef(()), 10.0)
        for index in range(self._num_models):
            self.engines.append(FakeEngine())
            self.models.append(Loopback(None, f"model-{index}"))
            await self.start_model(index)
        return self

    async def __aexit__(self, *error: object) -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        while self.journal._committing:
            await self.journal._committing
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.journal.stop()

    async def start_model(self, index: int) -> None:
        """Start or restart a model actor, with nothing in its cache."""
        engine = FakeEngine()
        self.engines[index] = engine
        actor = self.models[index]
        model = Model(
            self.settings.models[0],
            lambda settings: (engine, FakeTokenizer()),
            lambda: ModelRef(actor),
            actor.kill,
            self.directory,
        )
        actor.revive(model)
        await model.start()

    def kill_model(self, index: int = 0) -> None:
        """Like kill -9."""
        self.models[index].kill()
        for task in self.models[index].target._loops:
            task.cancel()

    def kill_session(self, session_id: str) -> None:
        """Kill the actor that holds a session."""
        for slot in self.slots.values():
            session = slot.target._session
            if session and session.session_id == session_id:
                slot.kill()
                for task in (session._running, session._refill, *session._beginning.values()):
                    if task:
                        task.cancel()

    def restart_directory(self) -> None:
        """Kill the directory and start another, with nothing in its memory."""
        self._directory.kill()
        self._directory.revive(self._make_directory())

    def _make_directory(self) -> Directory:
        pool = SlotPool(self.settings.sessions.pool_size, self._spawn, self._find, lambda actor: actor.kill())
        return Directory(self.settings, self.journal, pool, _NoMetrics())

    async def _spawn(self, name: str) -> Loopback:
        parts = SessionParts(self.journal, self.directory, self.settings.sessions, 10.0)
        slot = self.slots[name] = Loopback(SessionSlot(name, parts, self.directory), name)
        return slot

    async def _find(self) -> Mapping[str, Any]:
        return {name: slot for name, slot in self.slots.items() if not slot._died.is_set()}
