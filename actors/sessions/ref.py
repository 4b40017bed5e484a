"""The caller's side of a session."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncGenerator
from functools import partial

from typing_extensions import override

from actors.calls.ray import ActorGone, call
from actors.contexts.reader import TurnReader
from actors.contexts.run import Ticket
from actors.contexts.stream import SessionTurnStream
from actors.directory.ref import DirectoryRef
from actors.journal.keys import SESSION
from actors.pool.ref import Location, TenantCall
from actors.sessions.messages import SESSION_CALLS
from api.cluster import Edit, SessionDescription, SessionHandle, SessionLog, TurnRecord
from api.errors import InvalidRequest, Moved, TooBusy, Unavailable
from api.turns import TurnRequest


class SessionRef(SessionHandle):
    """A reference to one session by its id, wherever it is; a ``SessionHandle``.

    When its actor is dead or it is passive, the directory activates it elsewhere and the call is made again.
    Calls raise ``SessionNotFound`` once the session is closed, ``Unavailable`` when recovery takes too long.
    """

    LISTEN_S = 30.0
    RETRY_S = (0.01, 0.5)

    def __init__(self, location: Location, directory: DirectoryRef, reader: TurnReader, timeout_s: float) -> None:
        self.session_id = location.id
        self.owner = location.owner
        self._session = SESSION_CALLS.ref(TenantCall(SESSION, location, directory.locate, timeout_s))
        self._directory = directory
        self._reader = reader
        self._timeout_s = timeout_s
        self._listener = secrets.token_hex(8)

    @override
    async def begin(
        self, request: TurnRequest, after: str | None = None, edit: Edit | None = None
    ) -> SessionTurnStream:
        ticket = await self._session.begin(request, self._listener, after, edit)
        return self._stream(request.turn_id, ticket, 0)

    @override
    async def enqueue(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> None:
        await self._session.enqueue(request, after, edit)

    @override
    async def edit(self, edit: Edit, after: str | None = None) -> None:
        await self._session.edit(edit, after)

    @override
    async def log(self, start: int = 0, stop: int | None = None) -> SessionLog:
        return await self._session.log(start, stop)

    @override
    async def turn(self, turn_id: str) -> TurnRecord:
        return await self._session.turn(turn_id)

    @override
    async def hide(self, turn_id: str) -> None:
        await self._session.hide(turn_id)

    @override
    async def resume(self, turn_id: str, offset: int) -> SessionTurnStream:
        ticket = await self._session.ticket(turn_id)
        if offset < 0 or (ticket.output is not None and offset > len(ticket.output.ids)):
            raise InvalidRequest(f"offset {offset} lies outside what the turn has produced")
        return self._stream(turn_id, ticket, offset)

    @override
    async def listen(self) -> AsyncGenerator[str]:
        """A session that becomes passive is not activated again, but waited for."""
        heard = await self._session.next_turn(None, self._listener, self.LISTEN_S)
        return self._begun_after(heard.position)

    async def _begun_after(self, after: int) -> AsyncGenerator[str]:
        location: Location | None = None
        wait_s, longest_s = self.RETRY_S
        while True:
            try:
                location = location or await self._directory.active(self.session_id, self.LISTEN_S)
                if location is None:
                    continue
                session = SESSION_CALLS.ref(partial(call, location.actor, self.session_id))
                heard = await session.next_turn(after, self._listener, self.LISTEN_S)
            except (ActorGone, Moved, TooBusy, Unavailable):
                location = None
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, longest_s)
                continue
            after, wait_s = heard.position, self.RETRY_S[0]
            if heard.turn_id is not None:
                yield heard.turn_id

    @override
    async def cancel(self, turn_id: str | None = None) -> bool:
        return await self._session.cancel(turn_id)

    @override
    async def typing(self) -> None:
        await self._session.typing()

    @override
    async def fork(self, length: int | None = None, after: str | None = None, before: str | None = None) -> SessionRef:
        target_id = uuid.uuid4().hex
        await self._session.fork(target_id, length, after, before)
        location = await self._directory.locate(target_id)
        return SessionRef(location, self._directory, self._reader, self._timeout_s)

    @override
    async def rollback(self, length: int | None = None, then: tuple[int, ...] = (), before: str | None = None) -> None:
        await self._session.rollback(length, then, before)

    @override
    async def rename(self, title: str) -> None:
        await self._session.rename(title)

    @override
    async def describe(self) -> SessionDescription:
        return await self._session.describe()

    @override
    async def tokens(self, turn_id: str) -> tuple[int, ...]:
        return await self._session.tokens(turn_id)

    @override
    async def close(self) -> None:
        await self._directory.close(self.session_id)

    def _stream(self, turn_id: str, ticket: Ticket, offset: int) -> SessionTurnStream:
        again, ended = partial(self._session.ticket, turn_id), partial(self._session.ended, turn_id)
        stop = partial(self.cancel, turn_id)
        return SessionTurnStream(self.session_id, turn_id, ticket, offset, self._reader, again, ended, stop)
