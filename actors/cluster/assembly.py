"""The directory as Ray runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.metrics import Gauge
from typing_extensions import override

from actors.calls.latest import keep, latest
from actors.calls.ray import ask
from actors.calls.socket_server import listen
from actors.counters import Counter
from actors.directory.directory import Directory, DirectoryMetrics
from actors.directory.ref import DIRECTORY_CALLS, DirectoryRef, directory_ref
from actors.inferlets.actor import InferletActor, end_process
from actors.inferlets.launcher import InferletFamily
from actors.inferlets.ports import InferletParts, Surroundings
from actors.journal.actor import journal_ref
from actors.journal.contract import Journal
from actors.journal.keys import INFERLET, SESSION
from actors.pool.pool import SlotPool
from actors.sessions.actor import SessionActor
from actors.sessions.session import SessionParts
from actors.settings import NAMESPACE, ClusterSettings
from actors.topics.ref import BrokerRef
from api.inferlets import State
from api.logs import start_logging


class RayMetrics(DirectoryMetrics):
    """The directory's counters, through Ray's metrics agent."""

    def __init__(self) -> None:
        reasons = {"reason": ("opened", "forked", "passive", "lost")}
        self._activations = Counter("greenroom_activations_total", "Sessions put on an actor, by reason", {}, reasons)
        self._sessions = Gauge("greenroom_sessions", "Sessions, by state", tag_keys=("state",))
        self._inferlets = Gauge("greenroom_inferlets", "Inferlets and agents' threads, by state", tag_keys=("state",))
        self._wakes: dict[str, tuple[Counter, Counter]] = {}

    @override
    def activated(self, reason: str) -> None:
        self._activations.inc(reason=reason)

    @override
    def sessions(self, num_active: int, num_total: int) -> None:
        self._sessions.set(num_active, tags={"state": "active"})
        self._sessions.set(num_total - num_active, tags={"state": "passive"})

    @override
    def inferlets(self, counts: Mapping[State, int]) -> None:
        for state, number in counts.items():
            self._inferlets.set(number, tags={"state": state})

    @override
    def serves(self, model: str) -> None:
        if model not in self._wakes:
            tags, results = {"model": model}, {"result": ("ready", "failed")}
            self._wakes[model] = (
                Counter("greenroom_model_wakes_total", "Starts of a model that requests waited for", tags, results),
                Counter("greenroom_model_wake_seconds_total", "What the first of them waited, together", tags, {}),
            )

    @override
    def woken(self, model: str, waited_s: float | None) -> None:
        wakes, seconds = self._wakes[model]
        wakes.inc(result="failed" if waited_s is None else "ready")
        seconds.inc(waited_s or 0.0)


class HostedDirectory(Directory):
    """The directory in a Ray actor of its own, with pools of session and inferlet actors that it starts itself."""

    def __init__(self, settings: ClusterSettings, journal: Any, brokers: list[Any]) -> None:
        start_logging()
        settings = latest() or settings
        self._kept_by, self._brokers = journal, brokers
        self._configuring = asyncio.Lock()
        self._pools = {
            kind: SlotPool(kind, limits.pool_size, limits.max_processes, spawn, _find, _kill)
            for kind, limits, spawn in (
                (SESSION, settings.sessions, self._spawn_session),
                (INFERLET, settings.inferlets, self._spawn_inferlet),
            )
        }
        super().__init__(settings, journal_ref(journal, settings.recovery_timeout_s), self._pools, RayMetrics())

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``DirectoryRef``."""
        return await DIRECTORY_CALLS.dispatch(self, method, arguments)

    @override
    async def configure(self, settings: ClusterSettings) -> None:
        """As of every directory; and the shards of the broker get theirs."""
        async with self._configuring:
            before = self._settings
            await asyncio.to_thread(keep, self.applicable(settings))
            await super().configure(settings)
            if _given_at_start(settings) != _given_at_start(before):
                for pool in self._pools.values():
                    pool.renew()
            await self._broker().configure(settings.broker)

    def _broker(self) -> BrokerRef:
        return BrokerRef(self._brokers, *_given_at_start(self._settings))

    async def _spawn_session(self, name: str) -> Any:
        own, kept, timeout_s = self._refs()
        parts = SessionParts(kept, own, self._settings.sessions, timeout_s)
        return await _spawn(SessionActor, name, parts, own)

    async def _spawn_inferlet(self, name: str) -> Any:
        own, kept, timeout_s = self._refs()
        around = Surroundings(kept, own, InferletFamily(own, kept, timeout_s), self._broker())
        parts = InferletParts(own, around, self._settings.inferlets, timeout_s, end_process)
        return await _spawn(InferletActor, name, parts, own, PYTHONHASHSEED="0")  # sets repeat their order

    def _refs(self) -> tuple[DirectoryRef, Journal, float]:
        """What a new actor calls: this directory, and the journal; and for how long it waits for them."""
        timeout_s = self._settings.recovery_timeout_s
        own = directory_ref(ray.get_runtime_context().current_actor, timeout_s)
        return own, journal_ref(self._kept_by, timeout_s), timeout_s

    async def _start(self) -> None:
        await listen(self.call)
        await super()._start()


def _given_at_start(settings: ClusterSettings) -> tuple[float, int]:
    """What an actor of a pool is started with, and is not told later."""
    return settings.recovery_timeout_s, settings.broker.max_message_bytes


async def _spawn(actor_class: Any, name: str, parts: Any, directory: DirectoryRef, **environment: str) -> Any:
    options = actor_class.options(
        runtime_env={"env_vars": environment} if environment else None,
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=0,
        max_restarts=0,
        max_concurrency=1000,
        scheduling_strategy="DEFAULT",
        enable_task_events=False,
    )
    actor = await asyncio.to_thread(options.remote, name, parts, directory)
    await ask(actor.ready.remote())
    return actor


async def _find() -> Mapping[str, Any]:
    return await asyncio.to_thread(_find_blocking)


def _find_blocking() -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for actor in ray.util.list_named_actors(all_namespaces=True):
        if actor["namespace"] == NAMESPACE:
            try:
                found[actor["name"]] = ray.get_actor(actor["name"], namespace=NAMESPACE)
            except ValueError:
                continue
    return found


def _kill(actor: Any) -> None:
    ray.kill(actor, no_restart=True)


DirectoryActor = ray.remote(HostedDirectory)
