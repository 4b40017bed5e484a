"""The directory: which model actors there are and how loaded, and where each session lives."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from actors.directory_ref import Location
from actors.journal.contract import Journal
from actors.messages import ModelReport, Placement, SessionSeed
from actors.model_table import ModelTable
from actors.settings import ClusterSettings
from actors.slot_pool import Slot, SlotPool
from api.cluster import ModelInfo, SessionOptions, SessionSummary
from api.errors import InvalidRequest, ModelLost, Moved, NotFound, SessionNotFound, TooBusy
from api.logs import event_logger

log = event_logger("greenroom.directory")


class DirectoryMetrics(Protocol):
    """What the directory counts."""

    def activated(self, reason: str) -> None:
        """A session was put on an actor: "opened", "forked", "passive" or "lost"."""
        ...

    def sessions(self, num_active: int, num_total: int) -> None:
        """How many sessions there are."""
        ...


@dataclass(slots=True)
class _Entry:
    """A session that exists: on a slot, or put away."""

    owner: str
    slot: Slot | None = None
    assignment: str = ""


class Directory:
    """Finds things. Everything in it can be made again from the journal, the reports and the actors that live.

    Belongs to one event loop. Per session, one activation at a time.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        journal: Journal,
        pool: SlotPool,
        metrics: DirectoryMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._pool = pool
        self._metrics = metrics
        self._clock = clock
        self._models = ModelTable(settings)
        self._entries: dict[str, _Entry] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._starting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find what there is; every call waits for it. Idempotent."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def configure(self, settings: ClusterSettings) -> None:
        """See ``DirectoryRef.configure``."""
        await self.start()
        self._settings = settings
        self._models.configure(settings)
        self._pool.resize(settings.sessions.pool_size)

    async def settings(self) -> ClusterSettings:
        """See ``DirectoryRef.settings``."""
        return self._settings

    async def report(self, report: ModelReport) -> None:
        """See ``DirectoryRef.report``."""
        self._models.report(report)

    async def models(self) -> tuple[ModelInfo, ...]:
        """See ``DirectoryRef.models``."""
        return self._models.infos()

    async def reports(self) -> tuple[ModelReport, ...]:
        """See ``DirectoryRef.reports``."""
        return self._models.reports()

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """See ``DirectoryRef.place``."""
        return await self._models.place(model, key, lost)

    async def open(self, session_id: str, owner: str, options: SessionOptions) -> Location:
        """See ``DirectoryRef.open``."""
        await self.start()
        placement = await self._models.place(options.model, session_id)
        limit = placement.max_context_tokens
        if options.max_context is not None and options.max_context < 1:
            raise InvalidRequest("max_context must be >= 1")
        idle_timeout_s = options.idle_timeout_s or self._settings.sessions.idle_timeout_s
        return await self.adopt(
            SessionSeed(
                session_id,
                owner,
                placement.name,
                options.retention,
                min(options.max_context or limit, limit),
                idle_timeout_s,
            )
        )

    async def adopt(self, seed: SessionSeed) -> Location:
        """See ``DirectoryRef.adopt``."""
        await self.start()
        async with self._lock(seed.session_id):
            entry = self._entries.get(seed.session_id)
            if entry and entry.slot and entry.owner == seed.owner:
                return _location(seed.session_id, entry, entry.slot)
            self._check_limits(seed.owner)
            if seed.incarnation:
                self._models.settle(seed.session_id, seed.incarnation)
            self._metrics.activated("forked" if seed.records else "opened")
            return await self._assign(seed.session_id, seed)

    async def locate(self, session_id: str, dead: str | None = None) -> Location:
        """See ``DirectoryRef.locate``."""
        await self.start()
        async with self._lock(session_id):
            entry = self._entries.get(session_id)
            if entry is None:
                raise SessionNotFound(session_id)
            if entry.slot and entry.assignment != dead:
                return _location(session_id, entry, entry.slot)
            self._metrics.activated("lost" if entry.slot else "passive")
            if entry.slot:
                log.warning("session lost its actor", session_id=session_id, slot=entry.slot.name)
            try:
                return await self._assign(session_id, None)
            except NotFound:
                self._remove(session_id)
                raise SessionNotFound(session_id) from None

    async def released(self, session_id: str, slot: str) -> None:
        """See ``DirectoryRef.released``."""
        await self.start()
        entry = self._entries.get(session_id)
        if entry and entry.slot and entry.slot.name == slot:
            self._pool.give_back(entry.slot)
            entry.slot = None
        else:
            await self._pool.recognise(slot)

    async def forget(self, session_id: str) -> None:
        """See ``DirectoryRef.forget``."""
        await self.start()
        entry = self._entries.get(session_id)
        if entry and entry.slot:
            self._pool.give_back(entry.slot)
        self._remove(session_id)

    async def sessions(self, owner: str | None) -> tuple[SessionSummary, ...]:
        """See ``DirectoryRef.sessions``."""
        await self.start()
        streams = await self._journal.streams(owner)
        return tuple(
            SessionSummary(
                stream.key,
                stream.owner,
                stream.model,
                "active" if (entry := self._entries.get(stream.key)) and entry.slot else "passive",
                stream.created_at,
                stream.last_used_at,
            )
            for stream in streams
        )

    async def purge(self) -> int:
        """See ``DirectoryRef.purge``."""
        await self.start()
        session_ids = list(self._entries)
        for session_id in session_ids:
            await self.close(session_id)
        return len(session_ids)

    async def close(self, session_id: str) -> None:
        """Close a session, wherever it is, without activating it. Idempotent."""
        await self.start()
        async with self._lock(session_id):
            entry = self._entries.get(session_id)
            if entry is None:
                return
            slot = entry.slot
            if slot is None or not await self._pool.close_session(slot, session_id):
                await self._journal.delete(session_id)
                await self._close_context(session_id)
                self._remove(session_id)

    async def _start(self) -> None:
        found = await self._pool.recover()
        for stream in await self._journal.streams():
            self._entries[stream.key] = _Entry(stream.owner, found.get(stream.key), secrets.token_hex(8))
        self._sweeping = asyncio.create_task(self._sweep())
        log.info("directory ready", sessions=len(self._entries), active=len(found))

    async def _assign(self, session_id: str, seed: SessionSeed | None) -> Location:
        while True:
            slot = await self._pool.take()
            try:
                owner = await self._pool.assign(slot, session_id, seed)
            except Moved:
                continue
            except BaseException:
                self._pool.give_back(slot)
                raise
            entry = self._entries[session_id] = _Entry(owner, slot, secrets.token_hex(8))
            return _location(session_id, entry, slot)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            self._models.forget_silent()
            active = sum(entry.slot is not None for entry in self._entries.values())
            self._metrics.sessions(active, len(self._entries))
            try:
                for session_id in await self._journal.expired(self._clock()):
                    await self._expire(session_id)
            except Exception:
                log.exception("sweep failed")

    async def _expire(self, session_id: str) -> None:
        entry = self._entries.get(session_id)
        if entry and entry.slot:
            await self._pool.expire_session(entry.slot, session_id)
        else:
            await self.close(session_id)

    async def _close_context(self, session_id: str) -> None:
        model = self._models.settled(session_id)
        if model:
            try:
                await model.close(session_id)
            except ModelLost:
                pass

    def _check_limits(self, owner: str) -> None:
        limits = self._settings.sessions
        if len(self._entries) >= limits.max_sessions:
            raise TooBusy(f"{limits.max_sessions} sessions are open, which is the limit here")
        if sum(entry.owner == owner for entry in self._entries.values()) >= limits.max_sessions_per_owner:
            raise TooBusy(f"you have {limits.max_sessions_per_owner} sessions open, which is the limit")

    def _remove(self, session_id: str) -> None:
        self._entries.pop(session_id, None)
        self._locks.pop(session_id, None)
        self._models.unsettle(session_id)

    def _lock(self, session_id: str) -> asyncio.Lock:
        return self._locks.setdefault(session_id, asyncio.Lock())


def _location(session_id: str, entry: _Entry, slot: Slot) -> Location:
    actor: Any = slot.actor
    return Location(session_id, entry.owner, entry.assignment, actor)
