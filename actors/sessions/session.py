"""A session: owns one context for one user, runs its turns one at a time, and journals them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Protocol

from actors.calls.scope import Scope
from actors.contexts.context import ContextRef
from actors.contexts.placed import Contents, Placer
from actors.contexts.run import Ticket
from actors.directory.messages import SessionSeed
from actors.journal.contract import Journal
from actors.models.messages import TurnOutput
from actors.models.ref import Placement
from actors.sessions.listeners import Heard, Listeners
from actors.sessions.messages import SessionCalls
from actors.sessions.prefix import prefix
from actors.sessions.records import RolledBack, Titled, TurnHidden, encode
from actors.sessions.runner import TurnRunner
from actors.sessions.shown import num_past, shown_entries, shown_turns
from actors.sessions.stream import SessionRecords
from actors.sessions.turns import SessionTurns
from actors.settings import SessionSettings
from api.cluster import Edit, SessionDescription, SessionLog, TurnRecord
from api.errors import InvalidRequest, SessionNotFound, TurnRunning
from api.turns import TurnRequest


class Directory(Placer, Protocol):
    """What a session needs of the directory."""

    async def adopt(self, seed: SessionSeed) -> object:
        """Open a session that has a past; see ``DirectoryRef.adopt``."""
        ...

    async def close(self, session_id: str) -> None:
        """End a session for good; see ``DirectoryRef.close``."""
        ...


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What every session on an actor is made with."""

    journal: Journal
    directory: Directory
    settings: SessionSettings
    recovery_timeout_s: float


class Session(SessionCalls):
    """One context and its turns. Belongs to one event loop; the journal's epoch makes it the only one of its id.

    ``SessionCalls`` says what its calls do. A turn runs on when its reader leaves; it ends by itself, by ``cancel``, or
    with the session. Any call raises ``Moved`` once another actor has taken the session over.
    """

    def __init__(self, parts: SessionParts, records: SessionRecords, placement: Placement | None) -> None:
        opened, history = records.opened, records.history
        self.session_id = self.id = opened.session_id
        self.owner = records.owner
        self.is_spent = False
        self.wakes_at: float | None = None
        self.scope = Scope()
        self._parts = parts
        self._records = records
        self._last_used_at = time.time()
        context = ContextRef(
            parts.directory,
            self.id,
            opened.model,
            parts.recovery_timeout_s,
            self.owner,
            opened.retention,
            placement,
            scope=self.scope,
        )
        self._listeners = Listeners(*history.last_started)
        self._runner = TurnRunner(records, context, self._listeners, self.scope)
        self._turns = SessionTurns(records, self._runner, parts.settings.max_queued_turns, self.scope)

    @classmethod
    async def open(cls, parts: SessionParts, session_id: str, seed: SessionSeed | None) -> Session:
        """Make a session from its seed, durable on return; or, without one, take it over from an actor that is gone.

        It goes on with the turn that the other actor left unfinished, and with those that wait.

        Raises:
            IdTaken: there is a session of this id.
            NotFound: there is none, and no seed.
        """
        records = await SessionRecords.open(parts.journal, session_id, seed)
        session = cls(parts, records, seed.placement if seed else None)
        if running := records.history.open_turn:
            await session._turns.take_up(running)
        for waiting in records.history.queued.values():
            session._turns.wait_again(waiting)
        return session

    async def begin(
        self, request: TurnRequest, listener: str = "", after: str | None = None, edit: Edit | None = None
    ) -> Ticket:
        self._use(is_delisted_too=after is not None)
        self._runner.context.message()
        return await self._turns.begin(request, listener, after, edit)

    async def enqueue(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> None:
        self._use(is_delisted_too=after is not None)
        self._runner.context.message()
        await self._turns.enqueue(request, after, edit)

    async def edit(self, edit: Edit, after: str | None = None) -> None:
        self._use(is_delisted_too=edit.edit_id in self._records.history.edit_ids)
        await self._turns.edit(edit, after)
        if edit.is_delisted:
            await self._end_if_empty()

    async def log(self, start: int = 0, stop: int | None = None) -> SessionLog:
        self._use(is_delisted_too=True)
        history, context = self._records.history, self._records.history.context
        shown = shown_entries(history)
        return SessionLog(
            self._records.opened.model,
            self._records.created_at,
            history.note,
            context.front,
            frozenset(history.hidden_names),
            self._turns.order.version,
            self._turns.unfinished,
            context.is_stale,
            history.is_delisted,
            len(shown),
            num_past(history),
            tuple(entry if isinstance(entry, Edit) else entry.record(context.number) for entry in shown[start:stop]),
            self._turns.order.is_decided(self._turns.unfinished),
        )

    async def turn(self, turn_id: str) -> TurnRecord:
        self._use(is_delisted_too=True)
        return self._turns.record(turn_id)

    async def hide(self, turn_id: str) -> None:
        self._use(is_delisted_too=True)
        if turn_id not in self._records.history.hidden or not self._turns.is_empty:
            self._turns.record(turn_id)
            await self._turns.cancel(turn_id)
            await self._records.write(TurnHidden(turn_id))
        await self._end_if_empty()

    async def _end_if_empty(self) -> None:
        """End the session where nothing of it can be shown, before anything else is accepted.

        It is done again where an earlier actor died on its way to that, and its caller asks again.
        """
        if self._turns.is_empty:
            await self._turns.order.decided()
        if self._turns.is_empty:
            self._turns.order.end()
            await self._parts.directory.close(self.id)

    async def next_turn(self, after: int | None, listener: str, wait_s: float) -> Heard:
        self._records.check_here()
        if after is None:
            return Heard(self._records.history.num_records)
        return await self._listeners.next(after, listener, wait_s)

    async def ticket(
        self, turn_id: str, lost_attempt: int | None = None, delivered: TurnOutput | None = None
    ) -> Ticket:
        self._use(is_delisted_too=True)
        if lost_attempt is None:
            self._turns.check_told(turn_id)
        return await self._turns.ticket(turn_id, lost_attempt, delivered)

    async def ended(self, turn_id: str) -> TurnOutput:
        self._use(is_delisted_too=True)
        return await self._turns.ended(turn_id)

    async def cancel(self, turn_id: str | None = None) -> bool:
        self._use(is_delisted_too=True)
        return await self._turns.cancel(turn_id)

    async def typing(self) -> None:
        self._use()
        if self._records.opened.retention.policy == "predictive" and self._runner.turn_id is None:
            self._runner.context.refill()

    async def fork(
        self, target_id: str, length: int | None, after: str | None = None, before: str | None = None
    ) -> None:
        self._use(is_delisted_too=length is not None or after is not None)
        history = self._records.history
        length = length if after is None else history.length_after(after)
        length = length if before is None else history.length_before(before)
        if length is None and history.open_turn:
            raise TurnRunning("a turn is running; say at which length to fork")
        records = tuple(encode(record) for record in prefix(history, length))
        target = await self._runner.context.fork(target_id, Contents(tuple(history.tokens[:length])))
        opened = self._records.opened
        seed = SessionSeed(
            target_id,
            self.owner,
            opened.model,
            opened.retention,
            opened.max_context,
            opened.idle_timeout_s,
            records,
            target.placement,
            opened.adapter,
            history.title or None,
        )
        await self._parts.directory.adopt(seed)

    async def rollback(self, length: int | None, then: tuple[int, ...] = (), before: str | None = None) -> None:
        self._use()
        await self._turns.roll_back(lambda: self._cut(length, then, before))

    def _cut(self, length: int | None, then: tuple[int, ...], before: str | None) -> RolledBack:
        limit, history = self._records.opened.max_context + 1, self._records.history
        length = length if before is None else history.length_before(before)
        if length is None:
            raise InvalidRequest("a rollback needs a length or a turn")
        history.context.check_length(length)
        if length + len(then) > limit:
            raise InvalidRequest(f"this context holds at most {limit} tokens")
        return RolledBack(length, then)

    async def rename(self, title: str) -> None:
        self._use()
        await self._records.write(Titled(title))

    async def describe(self) -> SessionDescription:
        self._check_listed()
        num_resident = await self._runner.context.residency()
        turns = shown_turns(self._records.history)
        length = len(self._records.history.tokens)
        if running := self._records.history.open_turn:
            turns.append(running.record(length))
        return SessionDescription(
            self.session_id,
            self._records.opened.model,
            self._records.opened.retention,
            length,
            self._records.opened.max_context,
            num_resident,
            self._records.created_at,
            max(self._last_used_at, self._runner.last_ended_at),
            self._runner.turn_id,
            tuple(turns),
            self._records.opened.adapter,
            self._records.history.title,
        )

    async def tokens(self, turn_id: str) -> tuple[int, ...]:
        self._use(is_delisted_too=True)
        history = self._records.history
        return tuple(history.tokens[: history.length_after(turn_id)])

    def configure(self, settings: SessionSettings) -> None:
        """Take other settings; its idle timeout is that of its opening."""
        self._parts = replace(self._parts, settings=settings)
        self._turns.configure(settings.max_queued_turns)

    async def close(self) -> None:
        """End the session for good: cancel its turn, free its context, delete its journal. Idempotent."""
        await self.stop()
        await self._runner.context.close()
        await self._records.delete()

    async def stop(self) -> None:
        """Stop working on the session here, and leave it to the next activation."""
        self._records.leave()
        self._listeners.stop()
        await asyncio.gather(self._turns.stop(), self._runner.context.stop())

    @property
    def is_fenced(self) -> bool:
        """Another actor has the session, or it has ended; nothing more is done here."""
        return self._records.is_fenced

    def idle_s(self) -> float:
        """Seconds since the last use; 0 while a turn runs or waits."""
        last_at = max(self._last_used_at, self._runner.last_ended_at)
        return time.time() - last_at if self._turns.is_idle else 0.0

    @property
    def leaves_in_s(self) -> float:
        """When it is passivated, if it is not used until then; seconds."""
        return self._parts.settings.passivate_after_s - self.idle_s()

    @property
    def is_expired(self) -> bool:
        """It has not been used for as long as it may be."""
        timeout_s = self._records.opened.idle_timeout_s
        return timeout_s is not None and self.idle_s() >= timeout_s

    def _use(self, is_delisted_too: bool = False) -> None:
        self._records.check_here()
        if not is_delisted_too:
            self._check_listed()
        self._last_used_at = time.time()

    def _check_listed(self) -> None:
        if self._records.history.is_delisted:
            raise SessionNotFound(self.session_id)
