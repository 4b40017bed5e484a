"""Actors of one kind: a few started ones that wait, so that opening a session is a call and not a process start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from actors.calls.ray import ActorGone, ask
from actors.calls.scope import Scope
from api.errors import Moved, TooBusy, Unavailable
from api.logs import event_logger

log = event_logger("greenroom.directory")


@dataclass(frozen=True, slots=True)
class Slot:
    """An actor for a session or an inferlet, by name and handle."""

    name: str
    actor: Any


class SlotPool:
    """Starts actors ahead of need. ``spawn`` starts one by name; ``find`` gives the live ones, by name.

    Names in Ray begin with ``kind``. There are ``max_size`` actors at most: where so many are held and another is
    needed, those whose tenants are idle are passivated.
    """

    TIMEOUT_S = 30.0
    ASK_AGAIN_S = 0.2
    SILENCE_S = 2.0
    """An assignment that takes longer makes the pool ask whether its actors answer at all."""
    ANSWER_S = 3.0
    """An actor that does not say within it that it is there is given up: Ray takes half a minute to see a dead node."""

    def __init__(
        self,
        kind: str,
        size: int,
        max_size: int,
        spawn: Callable[[str], Awaitable[Any]],
        find: Callable[[], Awaitable[Mapping[str, Any]]],
        kill: Callable[[Any], None],
    ) -> None:
        self._kind = kind
        self._prefix = f"{kind}-"
        self._size = size
        self._max_size = max_size
        self._spawn = spawn
        self._find = find
        self._kill = kill
        self._free: list[Slot] = []
        self._held: dict[str, Slot] = {}
        self._dying: dict[str, asyncio.Task[None]] = {}
        self._outdated: set[str] = set()
        self._num_renewals = 0
        self._is_filling = False
        self._is_clearing = False
        self.scope = Scope()
        self._num_waiting = 0
        self._arrived = asyncio.Event()

    async def recover(self) -> dict[str, Slot]:
        """Find the live actors: those with a tenant, by its id; the others are free."""
        actors = await self._find()
        slots = [Slot(name, actor) for name, actor in actors.items() if name.startswith(self._prefix)]
        held = await asyncio.gather(*(_holds(slot) for slot in slots))
        taken = {tenant_id: slot for slot, tenant_id in zip(slots, held, strict=True) if tenant_id}
        self._free = [slot for slot, tenant_id in zip(slots, held, strict=True) if tenant_id == ""]
        self._held = {slot.name: slot for slot in taken.values()}
        for slot in (*self._free, *self._held.values()):
            self._watch(slot)
        self._fill()
        return taken

    async def take(self) -> Slot:
        """A free actor; waits for one to start or to be released where none is.

        Raises:
            TooBusy: there are as many as may be, and no tenant was idle in time.
            Unavailable: none could be started in time.
        """
        self._num_waiting += 1
        try:
            async with asyncio.timeout(self.TIMEOUT_S):
                while not self._free:
                    self._arrived.clear()
                    self._fill(at_least=1)
                    self._clear()
                    await self._arrived.wait()
        except TimeoutError:
            if self._is_full:
                raise TooBusy(f"{self._max_size} {self._kind}s are at work, as many as may be at one time") from None
            raise Unavailable("no actor could be started in time") from None
        finally:
            self._num_waiting -= 1
        slot = self._free.pop(0)
        self._held[slot.name] = slot
        self._fill()
        return slot

    async def assign(self, slot: Slot, tenant_id: str, seed: Any, settings: Any) -> str:
        """Put a session or an inferlet on an actor, with these settings; returns its owner.

        Raises:
            Moved: the actor is dead, or silent, or not free.
            NotFound, IdTaken: see ``actors.pool.actor.Slot.assign``.
        """
        assigning: asyncio.Future[str] = asyncio.ensure_future(ask(slot.actor.assign.remote(tenant_id, seed, settings)))
        try:
            while not (await asyncio.wait([assigning], timeout=self.SILENCE_S))[0]:
                if slot.name in await self._give_up_silent(slot):
                    raise Moved(f"actor {slot.name} does not answer")
            return await assigning
        except ActorGone:
            raise Moved(f"actor {slot.name} is gone") from None
        finally:
            assigning.cancel()

    async def close_tenant(self, slot: Slot, tenant_id: str) -> bool:
        """Have it closed where it is; False where its actor is dead."""
        try:
            await ask(slot.actor.close.remote(tenant_id))
        except ActorGone:
            return False
        return True

    async def expire_tenant(self, slot: Slot, tenant_id: str) -> None:
        """Have it closed if it has been idle for long enough. A dead actor: nothing happens."""
        try:
            await ask(slot.actor.expire.remote(tenant_id))
        except ActorGone:
            log.warning("what has expired has lost its actor", id=tenant_id)

    async def ask_to_leave(self, slot: Slot) -> None:
        """Have its tenant passivated if it is idle. A dead actor: nothing happens."""
        with suppress(ActorGone):
            await ask(slot.actor.leave.remote())

    async def wait_for_death(self, slot: Slot) -> None:
        """Return when the actor's process has died."""
        if dying := self._dying.get(slot.name):
            await asyncio.wait([dying])

    def release(self, slot: Slot) -> None:
        """An actor is free again; one more than twice the pool's size is ended, unless somebody waits for it."""
        if slot in self._free:
            return
        self._held.pop(slot.name, None)
        self._watch(slot)
        if slot.name in self._outdated or len(self._free) >= max(1, 2 * self._size, self._num_waiting):
            self._kill(slot.actor)
            return
        self._free.append(slot)
        self._arrived.set()

    async def recognise(self, name: str) -> None:
        """An actor that the directory had given up is free again."""
        actor = (await self._find()).get(name)
        if actor is not None:
            self.release(Slot(name, actor))

    def holds(self, slot: Slot) -> bool:
        """Whether this actor is alive, and has a tenant."""
        return slot.name in self._held

    def resize(self, size: int, max_size: int) -> None:
        """Keep so many ready from now on, and have so many at most."""
        self._size, self._max_size = size, max_size
        self._fill()

    def renew(self) -> None:
        """Actors are started with something else from now on: free ones are replaced, the others when they are free."""
        self._num_renewals += 1
        self._outdated.update(self._held)
        for slot in self._free:
            self._kill(slot.actor)
        self._free.clear()
        self._fill()

    def configure(self, settings: Any) -> None:
        """Have every tenant take these settings, soon."""
        for slot in self._held.values():
            self.scope.start(self._configure(slot, settings))

    async def _configure(self, slot: Slot, settings: Any) -> None:
        with suppress(ActorGone):
            await ask(slot.actor.configure.remote(settings))

    @property
    def _is_full(self) -> bool:
        return len(self._free) + len(self._held) >= self._max_size

    def _fill(self, at_least: int = 0) -> None:
        if not self._is_filling and len(self._free) < max(self._size, at_least) and not self._is_full:
            self._is_filling = True
            self.scope.start(self._start_slots(at_least))

    async def _start_slots(self, at_least: int) -> None:
        try:
            while len(self._free) < max(self._size, at_least) and not self._is_full:
                name, num_renewals = self._prefix + secrets.token_hex(8), self._num_renewals
                slot = Slot(name, await self._spawn(name))
                if num_renewals != self._num_renewals:
                    self._kill(slot.actor)
                    continue
                self._watch(slot)
                self._free.append(slot)
                self._arrived.set()
        except Exception:
            log.exception("an actor did not start", kind=self._prefix)
        finally:
            self._is_filling = False

    def _clear(self) -> None:
        if not self._is_clearing and self._is_full:
            self._is_clearing = True
            self.scope.start(self._ask_some_to_leave())

    async def _ask_some_to_leave(self) -> None:
        """As many as are needed, those first that have had their actor longest, until no call waits for one."""
        try:
            asked: set[str] = set()
            while (num_needed := self._num_waiting - len(self._free)) > 0 and self._is_full:
                batch = [slot for name, slot in self._held.items() if name not in asked][:num_needed]
                if not batch:
                    asked.clear()
                    await asyncio.sleep(self.ASK_AGAIN_S)
                    continue
                asked.update(slot.name for slot in batch)
                await asyncio.gather(*(self.ask_to_leave(slot) for slot in batch))
        finally:
            self._is_clearing = False

    async def _give_up_silent(self, slot: Slot) -> set[str]:
        """End those of this actor and the free ones that do not answer; their names."""
        asked = (slot, *self._free)
        answers = await asyncio.gather(*(self._answers(one) for one in asked))
        silent = [one for one, has_answered in zip(asked, answers, strict=True) if not has_answered]
        for one in silent:
            log.warning("an actor does not answer; it is given up", slot=one.name)
            self._forget(one.name)
            self._kill(one.actor)
        return {one.name for one in silent}

    async def _answers(self, slot: Slot) -> bool:
        try:
            async with asyncio.timeout(self.ANSWER_S):
                await _holds(slot)
        except TimeoutError:
            return False
        return True

    def _watch(self, slot: Slot) -> None:
        """One call for each actor, whatever it holds: calls that never return are not many to an actor."""
        if slot.name not in self._dying:
            self._dying[slot.name] = self.scope.start(self._outlive(slot))

    async def _outlive(self, slot: Slot) -> None:
        try:
            await ask(slot.actor.watched.remote())
        except ActorGone:
            log.info("an actor is gone", slot=slot.name)
        finally:
            del self._dying[slot.name]
            self._forget(slot.name)

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)
        self._outdated.discard(name)
        self._free = [free for free in self._free if free.name != name]
        self._arrived.set()


async def _holds(slot: Slot) -> str | None:
    """The id of its tenant, "" for none, None where it is dead."""
    try:
        return await ask(slot.actor.ready.remote()) or ""
    except ActorGone:
        return None
