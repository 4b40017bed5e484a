"""The caller's side of an inferlet."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

from typing_extensions import override

from actors.directory.ref import DirectoryRef
from actors.inferlets.messages import INFERLET_CALLS
from actors.journal.keys import INFERLET
from actors.pool.ref import Location, TenantCall
from api.errors import EndOfEvents
from api.inferlet_events import Event
from api.inferlets import InferletDescription, InferletHandle
from api.values import Value, snapshot


class InferletRef(InferletHandle):
    """A reference to one inferlet by its id, wherever it is; an ``InferletHandle``.

    When its actor is dead or it is passive, the directory activates it elsewhere and the call is made again. Calls
    raise ``InferletNotFound`` once it is deleted, ``Unavailable`` when recovery takes too long.
    """

    WAIT_S = 20.0

    def __init__(self, location: Location, directory: DirectoryRef, timeout_s: float) -> None:
        self.instance_id = location.id
        self.owner = location.owner
        self._inferlet = INFERLET_CALLS.ref(TenantCall(INFERLET, location, directory.locate_inferlet, timeout_s))

    @override
    async def send(self, value: Value, key: str | None = None) -> int:
        return await self._inferlet.deliver(key or uuid.uuid4().hex, snapshot(value))

    @override
    async def events(self, after: int = -1) -> AsyncIterator[Event]:
        while True:
            try:
                events = await self.read(after, self.WAIT_S)
            except EndOfEvents:
                return
            for event in events:
                yield event
                after = event.position
                if event.is_end:
                    return

    async def read(self, after: int, wait_s: float) -> tuple[Event, ...]:
        """The next of its events after a position, once there are some; none after ``wait_s``.

        Raises:
            EndOfEvents, InvalidRequest: it has none; see ``Reception.read``.
        """
        return await self._inferlet.read(after, wait_s)

    @override
    async def describe(self) -> InferletDescription:
        return await self._inferlet.describe()

    @override
    async def terminate(self) -> bool:
        return await self._inferlet.terminate()
