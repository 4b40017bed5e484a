"""The actor that hosts a session."""

from __future__ import annotations

import os

import ray
from typing_extensions import override

import actors.models.actor  # noqa: F401  Ray does when the first handle to one comes: not in a turn
from actors.calls.priority import lower_priority
from actors.calls.socket_server import listen
from actors.journal.keys import SESSION
from actors.pool.actor import Slot, SlotDirectory
from actors.sessions.messages import SESSION_CALLS
from actors.sessions.session import Session, SessionParts


class SessionSlot(Slot):
    """Holds no session or one; see ``Slot``."""

    def __init__(self, name: str, parts: SessionParts, directory: SlotDirectory) -> None:
        super().__init__(SESSION, name, parts, Session.open, SESSION_CALLS, directory, lambda: os._exit(1))


class HostedSession(SessionSlot):
    """The same in a Ray actor of its own."""

    def __init__(self, name: str, parts: SessionParts, directory: SlotDirectory) -> None:
        lower_priority()
        super().__init__(name, parts, directory)

    @override
    async def ready(self) -> str | None:
        await listen(self.call)
        return await super().ready()


SessionActor = ray.remote(HostedSession)
