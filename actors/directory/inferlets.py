"""Where each inferlet is; those that have not ended are activated again when their process dies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol, cast, get_args

from typing_extensions import override

from actors.calls.scope import Scope
from actors.directory.messages import InferletSeed
from actors.directory.models import ModelTable
from actors.directory.registry import Registry
from actors.journal.contract import Journal, StreamInfo
from actors.journal.keys import INFERLET
from actors.pool.pool import SlotPool
from actors.pool.ref import Location
from actors.settings import InferletSettings
from api.errors import GreenroomError, InferletNotFound, ModelLost
from api.inferlets import InferletSummary, State
from api.logs import event_logger

log = event_logger("greenroom.directory")

STATES = "inferlet-state"
"""The journal's items that say of an inferlet how it ended, or that it is passive: "waiting", after a space until when
at the latest, in seconds since the epoch. Without one it runs.
"""


class Metrics(Protocol):
    """What is counted."""

    def activated(self, reason: str) -> None:
        """An inferlet was put on an actor."""
        ...


class InferletTable(Registry):
    """A registry that watches over its processes. Belongs to one event loop."""

    RETRY_S = 1.0

    def __init__(
        self,
        settings: InferletSettings,
        journal: Journal,
        pool: SlotPool,
        metrics: Metrics,
        models: ModelTable,
        scope: Scope,
    ) -> None:
        super().__init__(INFERLET, journal, pool, settings, InferletNotFound, metrics.activated, self._free)
        self._scope = scope
        self._models = models
        self._states: dict[str, State] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}

    @property
    def counts(self) -> Mapping[State, int]:
        """How many there are in each state."""
        found = Counter(self._states.get(instance_id, "running") for instance_id in self.entries)
        return {state: found[state] for state in get_args(State)}

    @override
    async def recover(self, streams: Mapping[str, StreamInfo]) -> None:
        """Resume those that ran and have lost their process, too."""
        await super().recover(streams)
        for instance_id in await self._journal.list_items(STATES):
            state, _, wakes_at = (await self._journal.get_item(STATES, instance_id) or b"").decode().partition(" ")
            self._states[instance_id] = cast(State, state)
            if wakes_at:
                self._watching[instance_id] = self._scope.start(self._wake(instance_id, float(wakes_at)))
        for instance_id, entry in self.entries.items():
            if entry.slot:
                self._watch(entry.location(instance_id, entry.slot))
            elif instance_id not in self._states:
                self._watching[instance_id] = self._scope.start(self._reactivate(instance_id, None))

    async def launch(self, seed: InferletSeed) -> Location:
        """See ``DirectoryRef.launch``."""
        if seed.instance_id in self.entries:
            return await self.locate(seed.instance_id, None)
        location = await self.adopt(seed.instance_id, seed.owner, seed, "launched")
        self._watch(location)
        return location

    @override
    async def locate(self, tenant_id: str, dead: str | None, owner: str | None = None) -> Location:
        before = self.entries.get(tenant_id)
        location = await super().locate(tenant_id, dead, owner)
        if before is None or before.assignment != location.assignment or before.slot is None:
            if self._states.get(tenant_id) == "waiting":
                del self._states[tenant_id]
                await self._journal.delete_item(STATES, tenant_id)
            self._watch(location)
        return location

    async def ended(self, instance_id: str, how: str) -> None:
        """See ``DirectoryRef.inferlet_ended``."""
        if instance_id in self.entries:
            await self._note(instance_id, cast(State, how))
        await self._free_contexts(instance_id)

    async def passivated(self, instance_id: str, slot: str, wakes_at: float | None) -> None:
        """See ``DirectoryRef.released``."""
        if not await self.released(instance_id, slot):
            return
        self._unwatch(instance_id)
        if instance_id not in self._states:
            await self._note(instance_id, "waiting", wakes_at)

    async def summaries(self, streams: Mapping[str, StreamInfo]) -> tuple[InferletSummary, ...]:
        """These, with how they do."""
        found = []
        for instance_id, stream in streams.items():
            state = self._states.get(instance_id, "running")
            times = (stream.created_at, stream.last_used_at)
            found.append(InferletSummary(instance_id, stream.owner, stream.title, stream.model, state, *times))
        return tuple(found)

    async def _note(self, instance_id: str, state: State, wakes_at: float | None = None) -> None:
        self._states[instance_id] = state
        kept = state if wakes_at is None else f"{state} {wakes_at}"
        await self._journal.put_item(STATES, instance_id, kept.encode())
        if wakes_at is not None and instance_id in self._states and instance_id not in self._watching:
            self._watching[instance_id] = self._scope.start(self._wake(instance_id, wakes_at))

    def _watch(self, location: Location) -> None:
        self._unwatch(location.id)
        self._watching[location.id] = self._scope.start(self._outlive(location))

    def _unwatch(self, instance_id: str) -> None:
        watching = self._watching.pop(instance_id, None)
        if watching and watching is not asyncio.current_task():
            watching.cancel()

    async def _outlive(self, location: Location) -> None:
        """When its process dies, and it was not over, take it up again."""
        entry = self.entries[location.id]
        if entry.slot is None:
            return
        await self.pool.wait_for_death(entry.slot)
        entry = self.entries.get(location.id, entry)
        if entry.assignment != location.assignment:
            return
        if location.id in self._states:
            self.mark_passive(location.id, location.assignment)
        else:
            await self._reactivate(location.id, location.assignment)

    async def _wake(self, instance_id: str, at: float) -> None:
        """Activate one at this time, unless that happens before."""
        while (left_s := at - time.time()) > 0:  # noqa: ASYNC110 - the clock might have been set meanwhile
            await asyncio.sleep(left_s)
        await self._reactivate(instance_id, None)

    async def _reactivate(self, instance_id: str, dead: str | None) -> None:
        while True:
            try:
                await self.locate(instance_id, dead)
                return
            except InferletNotFound:
                return
            except GreenroomError as error:
                log.warning("an inferlet cannot be reactivated yet", instance_id=instance_id, error=str(error))
            await asyncio.sleep(self.RETRY_S)

    async def _free(self, instance_id: str, is_orphaned: bool) -> None:
        self._states.pop(instance_id, None)
        self._unwatch(instance_id)
        await self._journal.delete_item(STATES, instance_id)
        await self._free_contexts(instance_id)

    async def _free_contexts(self, instance_id: str) -> None:
        for key in self._models.settled_keys(f"{instance_id}."):
            model = self._models.settled(key)
            self._models.unsettle(key)
            if model:
                with suppress(ModelLost):
                    await model.close(key)
