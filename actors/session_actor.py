"""The actor that a session lives on: started early, given a session when one is needed, and given back."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import ray

from actors.messages import SessionSeed
from actors.session import Directory, Session, SessionParts
from api.errors import Conflict, GreenroomError, Moved
from api.logs import event_logger, start_logging

log = event_logger("greenroom.session")

CALLS = frozenset(("begin", "ticket", "ended", "cancel", "typing", "fork", "rollback", "describe"))


class SlotDirectory(Directory, Protocol):
    """What the actor itself needs of the directory."""

    async def released(self, session_id: str, slot: str) -> None:
        """The session is not on this actor any longer."""
        ...

    async def forget(self, session_id: str) -> None:
        """The session is closed."""
        ...


class SessionSlot:
    """Holds no session or one. Its life: waits in the pool, is assigned, is released, waits again.

    A call names its session, so that an old handle never reaches the next tenant.
    """

    CHECK_INTERVAL_S = 5.0

    def __init__(self, name: str, parts: SessionParts, directory: SlotDirectory) -> None:
        self._name = name
        self._parts = parts
        self._directory = directory
        self._session: Session | None = None
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        start_logging()

    async def ready(self) -> str | None:
        """Once the process runs: the session that it holds."""
        return self._session.session_id if self._session else None

    async def assign(self, session_id: str, seed: SessionSeed | None) -> str:
        """Take a session: a new one from its seed, or one from the journal. Returns its owner.

        Raises:
            NotFound: the journal has none of this id.
            Conflict: this actor holds another, or the id is taken.
        """
        async with self._lock:
            if self._session and self._session.session_id != session_id:
                raise Conflict(f"actor {self._name} holds a session already")
            if self._session is None:
                session = Session(self._parts, session_id)
                await (session.create(seed) if seed else session.activate())
                self._session = session
                self._watching = asyncio.create_task(self._watch(session))
            return self._session.owner

    async def call(self, session_id: str, method: str, arguments: tuple[Any, ...]) -> Any:
        """A call of ``Session``.

        Raises:
            Moved: the session is not here.
        """
        session = self._session
        if session is None or session.session_id != session_id:
            raise Moved(f"session {session_id!r} is not here")
        assert method in CALLS, method
        return await getattr(session, method)(*arguments)

    async def close(self, session_id: str) -> None:
        """Close the session for good, and be free for another. Idempotent."""
        async with self._lock:
            session = self._session
            if session is None or session.session_id != session_id:
                return
            await session.close()
            self._vacate()
        await self._directory.forget(session_id)

    async def expire(self, session_id: str) -> None:
        """Close the session if it has not been used for as long as it may be."""
        session = self._session
        if session and session.session_id == session_id and session.is_expired:
            log.info("session expired", session_id=session_id)
            await self.close(session_id)

    async def _watch(self, session: Session) -> None:
        limit_s = self._parts.settings.passivate_after_s
        while not session.is_fenced and (left_s := limit_s - session.idle_s()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(self.CHECK_INTERVAL_S, left_s))
        self._watching = None
        async with self._lock:
            if self._session is not session:
                return
            log.info("session put away", session_id=session.session_id, fenced=session.is_fenced)
            await session.stop()
            self._vacate()
        try:
            await self._directory.released(session.session_id, self._name)
        except GreenroomError as error:
            log.warning("the directory was not told", session_id=session.session_id, error=str(error))

    def _vacate(self) -> None:
        self._session = None
        if self._watching:
            self._watching.cancel()
            self._watching = None


SessionActor = ray.remote(SessionSlot)
