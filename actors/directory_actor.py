"""The directory as Ray runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge

from actors.asking import ask
from actors.directory import Directory
from actors.directory_ref import DirectoryRef
from actors.journal.actor import JournalRef
from actors.session import SessionParts
from actors.session_actor import SessionActor
from actors.settings import NAMESPACE, ClusterSettings
from actors.slot_pool import SlotPool
from api.logs import start_logging


class RayMetrics:
    """The directory's counters, through Ray's metrics agent."""

    def __init__(self) -> None:
        self._activations = Counter(
            "greenroom_activations_total", "Sessions put on an actor, by reason", tag_keys=("reason",)
        )
        self._sessions = Gauge("greenroom_sessions", "Sessions, by state", tag_keys=("state",))

    def activated(self, reason: str) -> None:
        """See ``DirectoryMetrics.activated``."""
        self._activations.inc(tags={"reason": reason})

    def sessions(self, num_active: int, num_total: int) -> None:
        """See ``DirectoryMetrics.sessions``."""
        self._sessions.set(num_active, tags={"state": "active"})
        self._sessions.set(num_total - num_active, tags={"state": "passive"})


class HostedDirectory(Directory):
    """The directory in a Ray actor of its own, with a pool of session actors that it starts itself."""

    def __init__(self, settings: ClusterSettings, journal: Any) -> None:
        start_logging()
        timeout_s = settings.recovery_timeout_s
        journal_ref = JournalRef(journal, timeout_s)

        async def spawn(name: str) -> Any:
            own = DirectoryRef(ray.get_runtime_context().current_actor, timeout_s)
            parts = SessionParts(journal_ref, own, settings.sessions, timeout_s)
            return await _spawn(name, parts, own)

        pool = SlotPool(settings.sessions.pool_size, spawn, _find, _kill)
        super().__init__(settings, journal_ref, pool, RayMetrics())


async def _spawn(name: str, parts: SessionParts, directory: DirectoryRef) -> Any:
    options = SessionActor.options(
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
