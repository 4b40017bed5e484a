"""Where the sessions, or the inferlets, are: each on a pooled actor, or passive."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from actors.journal.contract import Journal, StreamInfo
from actors.journal.keys import journal_key
from actors.pool.pool import Slot, SlotPool
from actors.pool.ref import Location
from actors.settings import InferletSettings, SessionSettings
from api.errors import InUse, Moved, NotFound, TooBusy
from api.logs import event_logger

log = event_logger("greenroom.directory")


@dataclass(slots=True)
class Entry:
    """One that exists: on a slot, or passive."""

    owner: str
    slot: Slot | None = None
    assignment: str = ""

    def location(self, tenant_id: str, slot: Slot) -> Location:
        """Where it is: on this slot."""
        return Location(tenant_id, self.owner, self.assignment, slot.actor)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many there may be, in all and of one owner; and how many of one owner may have a process at one time."""

    total: int
    per_owner: int
    processes_per_owner: int

    @classmethod
    def of(cls, settings: SessionSettings | InferletSettings) -> Limits:
        """As configured; where nothing is said of one owner, it may have all."""
        if isinstance(settings, SessionSettings):
            total, per_owner = settings.max_sessions, settings.max_sessions_per_owner
        else:
            total, per_owner = settings.max_inferlets, settings.max_inferlets_per_owner
        return cls(total, per_owner or total, settings.max_processes_per_owner or settings.max_processes)


class Registry:
    """All of one kind, by id. Belongs to one event loop. For each, one activation at a time.

    Args:
        settings: those that each gets when it is put on a slot.
        not_found: the error for an id that is not there.
        activated: told the reason each time that one is put on a slot.
        removed: told the id of one that is no more, with whether its actor could not see to that itself.
    """

    def __init__(
        self,
        kind: str,
        journal: Journal,
        pool: SlotPool,
        settings: SessionSettings | InferletSettings,
        not_found: Callable[[str], NotFound],
        activated: Callable[[str], object],
        removed: Callable[[str, bool], Awaitable[object]],
    ) -> None:
        self._limits = Limits.of(settings)
        self._settings = settings
        self.pool = pool
        self.entries: dict[str, Entry] = {}
        self._kind = kind
        self._journal = journal
        self._not_found = not_found
        self._activated = activated
        self._removed = removed
        self._locks: dict[object, asyncio.Lock] = {}
        self._num_wanting: Counter[object] = Counter()
        self._num_assigning: Counter[str] = Counter()
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def configure(self, settings: SessionSettings | InferletSettings) -> None:
        """Take new settings, also for those that are on a slot."""
        if settings == self._settings:
            return
        self._limits, self._settings = Limits.of(settings), settings
        self.pool.resize(settings.pool_size, settings.max_processes)
        self.pool.configure(settings)

    @property
    def num_active(self) -> int:
        """How many are on a slot."""
        return sum(entry.slot is not None for entry in self.entries.values())

    async def recover(self, streams: Mapping[str, StreamInfo]) -> None:
        """Find those that the journal has, by id, and the slots that hold them."""
        found = await self.pool.recover()
        self.pool.configure(self._settings)  # the directory before might not have told all of them
        for tenant_id, stream in streams.items():
            self.entries[tenant_id] = Entry(stream.owner, found.get(tenant_id), secrets.token_hex(8))

    async def adopt(self, tenant_id: str, owner: str, seed: Any, reason: str) -> Location:
        """Put a new one on a slot; the same id again is the same one.

        Raises:
            TooBusy: there are as many as are allowed.
            Unavailable: no slot could be had in time.
        """
        async with self._lock(tenant_id):
            entry = self.entries.get(tenant_id)
            if entry and entry.owner == owner:
                if entry.slot:
                    return entry.location(tenant_id, entry.slot)
                return await self._assign(tenant_id, owner, None)
            self._check_limits(owner)
            self._activated(reason)
            return await self._assign(tenant_id, owner, seed)

    async def locate(self, tenant_id: str, dead: str | None, owner: str | None = None) -> Location:
        """Where one is, activated where it is passive; ``dead`` names the assignment that was found dead.

        Raises:
            NotFound: it is not there, or another owner's (None: whosever it is).
        """
        async with self._lock(tenant_id):
            entry = self.entries.get(tenant_id)
            if entry is None or owner not in (None, entry.owner):
                raise self._not_found(tenant_id)
            if entry.slot and entry.assignment != dead:
                return entry.location(tenant_id, entry.slot)
            self._activated("lost" if entry.slot else "passive")
            if entry.slot:
                log.warning("lost its actor", kind=self._kind, id=tenant_id, slot=entry.slot.name)
                entry.slot = None  # what its process says does not count, even if it is alive
            try:
                return await self._assign(tenant_id, entry.owner, None)
            except NotFound:
                await self._remove(tenant_id, False)
                raise self._not_found(tenant_id) from None

    async def active(self, tenant_id: str, wait_s: float) -> Location | None:
        """Where one is, once it is on a slot; this does not activate it; None after ``wait_s``.

        Raises:
            NotFound: it is not there, or no more.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while (left_s := deadline - loop.time()) > 0:
            entry = self.entries.get(tenant_id)
            if entry is None:
                raise self._not_found(tenant_id)
            if entry.slot:
                return entry.location(tenant_id, entry.slot)
            await self._change(tenant_id, left_s)
        return None

    async def released(self, tenant_id: str, slot: str) -> bool:
        """One is not on its slot any longer; whether that was where it lived."""
        entry = self.entries.get(tenant_id)
        if entry and entry.slot and entry.slot.name == slot:
            self.pool.release(entry.slot)
            entry.slot = None
            return True
        await self.pool.recognise(slot)
        return False

    async def forget(self, tenant_id: str) -> None:
        """One is no more."""
        entry = self.entries.get(tenant_id)
        if entry and entry.slot:
            self.pool.release(entry.slot)
        await self._remove(tenant_id, False)

    def mark_passive(self, tenant_id: str, assignment: str) -> None:
        """The process of this assignment has died, and nothing need be done about it."""
        entry = self.entries.get(tenant_id)
        if entry and entry.assignment == assignment:
            entry.slot = None

    async def give(self, tenant_id: str, owner: str) -> None:
        """Make one another owner's; it is activated anew with its next use.

        Raises:
            NotFound: it is not there.
            InUse: it is at work.
        """
        async with self._lock(tenant_id):
            entry = self.entries.get(tenant_id)
            if entry is None:
                raise self._not_found(tenant_id)
            if entry.slot:
                await self.pool.ask_to_leave(entry.slot)
            if entry.slot and self.pool.holds(entry.slot):
                raise InUse(f"{self._kind} {tenant_id!r} is at work: try again when it is idle")
            await self._journal.give(journal_key(self._kind, tenant_id), owner)
            entry.slot, entry.owner = None, owner

    async def close(self, tenant_id: str) -> None:
        """End one for good, wherever it is, without activating it. Idempotent."""
        async with self._lock(tenant_id):
            entry = self.entries.get(tenant_id)
            if entry is None:
                return
            if entry.slot is None or not await self.pool.close_tenant(entry.slot, tenant_id):
                await self._journal.delete(journal_key(self._kind, tenant_id))
                await self._remove(tenant_id, True)

    async def expire(self, tenant_id: str) -> None:
        """Its time is over, if its actor says so too."""
        entry = self.entries.get(tenant_id)
        if entry and entry.slot:
            await self.pool.expire_tenant(entry.slot, tenant_id)
        else:
            await self.close(tenant_id)

    async def _assign(self, tenant_id: str, owner: str, seed: Any) -> Location:
        async with self._share_of(owner):
            return await self._assign_any(tenant_id, seed)

    @asynccontextmanager
    async def _share_of(self, owner: str) -> AsyncIterator[None]:
        """A place among the processes of an owner, while it is on its way to one."""
        try:
            async with asyncio.timeout(self.pool.TIMEOUT_S), self._lock(("owner", owner)):
                await self._make_room_for(owner)
                self._num_assigning[owner] += 1
        except TimeoutError:
            limit = self._limits.processes_per_owner
            raise TooBusy(f"{limit} of your {self._kind}s are at work, as many as one owner may have") from None
        try:
            yield
        finally:
            self._num_assigning[owner] -= 1

    async def _make_room_for(self, owner: str) -> None:
        """Passivate idle ones of an owner, those first that have been there longest, while it has its share."""
        asked: set[str] = set()
        limit = self._limits.processes_per_owner
        if limit >= self._settings.max_processes:
            return
        while self._num_assigning[owner] + len(held := self._held_by(owner)) >= limit:
            slot = next((slot for slot in held if slot.name not in asked), None)
            if slot is None:
                asked.clear()
                await asyncio.sleep(self.pool.ASK_AGAIN_S)
            else:
                asked.add(slot.name)
                await self.pool.ask_to_leave(slot)

    def _held_by(self, owner: str) -> list[Slot]:
        return [entry.slot for entry in self.entries.values() if entry.slot and entry.owner == owner]

    async def _assign_any(self, tenant_id: str, seed: Any) -> Location:
        while True:
            slot = await self.pool.take()
            try:
                owner = await self.pool.assign(slot, tenant_id, seed, self._settings)
            except Moved:
                if seed and await self._journal.info(journal_key(self._kind, tenant_id)):
                    seed = None  # it was made, and took the process with it
                continue
            except BaseException:
                self.pool.release(slot)
                raise
            entry = self.entries[tenant_id] = Entry(owner, slot, secrets.token_hex(8))
            self._has_changed(tenant_id)
            return entry.location(tenant_id, slot)

    def _check_limits(self, owner: str) -> None:
        if len(self.entries) >= self._limits.total:
            raise TooBusy(f"{self._limits.total} {self._kind}s are open, which is the limit here")
        if sum(entry.owner == owner for entry in self.entries.values()) >= self._limits.per_owner:
            raise TooBusy(f"you have {self._limits.per_owner} {self._kind}s open, which is the limit")

    async def _remove(self, tenant_id: str, is_orphaned: bool) -> None:
        self.entries.pop(tenant_id, None)
        self._has_changed(tenant_id)
        await self._removed(tenant_id, is_orphaned)

    def _has_changed(self, tenant_id: str) -> None:
        """Wake calls that wait for one to be on a slot."""
        for waiting in self._waiting.get(tenant_id, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def _change(self, tenant_id: str, timeout_s: float) -> None:
        """Wait until one is on a slot or removed, or for so long."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, set()).add(changed)
        try:
            await asyncio.wait([changed], timeout=timeout_s)
        finally:
            self._waiting[tenant_id].discard(changed)
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id]

    @asynccontextmanager
    async def _lock(self, key: object) -> AsyncIterator[None]:
        """One at a time for each tenant's id, and those that make room for one owner; there only while it is wanted."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._num_wanting[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._num_wanting[key] -= 1
            if not self._num_wanting[key]:
                del self._num_wanting[key], self._locks[key]
