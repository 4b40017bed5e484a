"""The turns of one session: one at a time, each journaled at its start and its end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from actors.calls.scope import Scope
from actors.contexts.deaths import Deaths
from actors.contexts.run import Ticket
from actors.models.messages import TurnOutput
from actors.sessions.ended_turns import OpenTurn, waiting_record
from actors.sessions.order import Order
from actors.sessions.queue import TurnQueue
from actors.sessions.records import Edited, RolledBack, TurnDismissed, TurnQueued
from actors.sessions.runner import TurnRunner
from actors.sessions.shown import is_empty, is_untold
from actors.sessions.stream import SessionRecords
from api.cluster import Edit, TurnRecord
from api.errors import GreenroomError, TurnNotFound, TurnRunning
from api.logs import event_logger
from api.turns import Finish, TurnRequest, TurnStart

log = event_logger("greenroom.session")


class SessionTurns:
    """Begins turns in the order they came.

    Attributes:
        runner: of the one that runs.
        order: in which they are accepted, and edits with them.
    """

    def __init__(self, records: SessionRecords, runner: TurnRunner, max_queued: int, scope: Scope) -> None:
        self.runner = runner
        self.order = Order(records.opened.session_id, records.history)
        self._records = records
        self._scope = scope
        self._queue = TurnQueue(max_queued)
        runner.has_ended = self._queue.leave
        self._beginning: dict[str, asyncio.Task[Ticket]] = {}
        self._waiting: dict[str, TurnRequest] = {}
        self._enqueued: dict[str, asyncio.Task[None] | None] = {}

    def configure(self, max_queued: int) -> None:
        """So many turns may wait from now on."""
        self._queue.max_waiting = max_queued

    @property
    def is_idle(self) -> bool:
        """No turn runs or waits."""
        return self._queue.is_idle

    @property
    def is_empty(self) -> bool:
        """Nothing of the session can be shown any longer."""
        return is_empty(self._records.history, self._waiting.values())

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The ids of those that run or wait, in their order."""
        running = self.runner.turn_id
        return (*((running,) if running else ()), *(turn_id for turn_id in self._beginning if turn_id != running))

    async def begin(
        self, request: TurnRequest, listener: str, after: str | None = None, edit: Edit | None = None
    ) -> Ticket:
        """See ``SessionHandle.begin``. All but this listener are told of it."""
        turn_id = request.turn_id
        if turn_id not in self._beginning:
            await self._decided()
        self.check_told(turn_id)
        if known := self._ticket_now(turn_id):
            return known
        if turn_id in self._records.history.quarantined:
            raise GreenroomError(Deaths.SENTENCE)
        if turn_id == self.runner.turn_id:
            return await self.ticket(turn_id, None, None)
        if turn_id not in self._beginning:
            edit = self._checked(after, edit)
            self._queue.check_room()
            self._accept(TurnQueued(self._resolved(request, edit), edit), listener)
        return await asyncio.shield(self._beginning[turn_id])

    async def enqueue(self, request: TurnRequest, after: str | None, edit: Edit | None = None) -> None:
        """See ``SessionHandle.enqueue``."""
        turn_id, history = request.turn_id, self._records.history
        if turn_id not in self._beginning:
            await self._decided()
        if turn_id in self.unfinished or turn_id in history.hidden or history.record(turn_id):
            if (writing := self._enqueued.get(turn_id)) is not None:
                await asyncio.shield(writing)
            elif turn_id in self._beginning and turn_id not in self._enqueued:
                await asyncio.shield(self._beginning[turn_id])  # nothing of it is in the journal before it starts
            return
        edit = self._checked(after, edit)
        self._queue.check_room()
        turn = TurnQueued(self._resolved(request, edit), edit)
        writing = self._enqueued[turn_id] = self._scope.start(self._records.write(turn))
        self._accept(turn, "", writing).add_done_callback(_retrieve)
        await asyncio.shield(writing)

    async def edit(self, edit: Edit, after: str | None) -> None:
        """See ``SessionHandle.edit``."""
        await self._decided()
        if edit.edit_id in self._records.history.edit_ids:
            return
        self._checked(after, edit)
        await self._change(edit.edit_id, self._write_edit(edit))

    async def roll_back(self, cut: Callable[[], RolledBack]) -> None:
        """Cut the context back as this says once no turn runs; see ``SessionHandle.rollback``."""
        await self._decided()
        self._check_idle()
        await self._change(f"rollback {uuid4().hex}", self._write_cut(cut))

    async def _change(self, name: str, change: Coroutine[Any, Any, None]) -> None:
        """Let what comes later wait until this has been made, or has come to nothing."""
        making = self._scope.start(self._make(name, change))
        self.order.accept(name, making)
        await asyncio.shield(making)

    async def _make(self, name: str, change: Coroutine[Any, Any, None]) -> None:
        try:
            await change
        except BaseException:
            self.order.withdraw(name)
            raise

    async def _decided(self) -> None:
        """Wait until it is decided what came before; the session might leave this actor meanwhile."""
        await self.order.decided()
        self._records.check_here()

    def _checked(self, after: str | None, edit: Edit | None) -> Edit | None:
        """The edit, if there is one that has not been made.

        Raises:
            GreenroomError: as ``Order.check``.
            TurnRunning: it cannot be made now.
        """
        self.order.check(after, self.unfinished)
        if edit is None or edit.edit_id in self._records.history.edit_ids:
            return None
        if edit.is_anew and (self._beginning or not self._queue.is_idle):
            raise TurnRunning("a turn is running: the context cannot begin anew")
        return edit

    async def _write_edit(self, edit: Edit) -> None:
        if not edit.is_anew:
            return await self._records.write(Edited(edit))
        async with self._held_off():
            await self._records.write(Edited(edit))
            await self.runner.move()

    async def _write_cut(self, cut: Callable[[], RolledBack]) -> None:
        async with self._held_off():
            await self._records.write(cut())

    def check_told(self, turn_id: str) -> None:
        """Whether what was said in this turn is told to anyone.

        Raises:
            TurnNotFound: it is hidden.
        """
        if is_untold(self._records.history, turn_id):
            raise TurnNotFound(turn_id)

    def record(self, turn_id: str) -> TurnRecord:
        """See ``SessionHandle.turn``."""
        history, waiting = self._records.history, self._waiting.get(turn_id)
        record = history.record(turn_id)
        if record is None and waiting is not None and turn_id not in history.hidden:
            record = waiting_record(waiting, len(history.tokens))
        if record is None:
            raise TurnNotFound(turn_id)
        return record

    def _accept(
        self, turn: TurnQueued, listener: str, before: asyncio.Task[None] | None = None
    ) -> asyncio.Task[Ticket]:
        """Let a turn wait for its place, and start it; what is ``before`` must succeed first."""
        turn_id = turn.request.turn_id
        self._waiting[turn_id] = turn.request
        task = self._beginning[turn_id] = self._scope.start(self._begin(turn, listener, before))
        self.order.accept(turn_id, task if turn.edit and turn.edit.is_anew else None)
        return task

    async def take_up(self, turn: OpenTurn) -> None:
        """Go on with the turn that an earlier actor left unfinished; before any other begins."""
        turn_id = turn.request.turn_id
        log.info("resumes a turn", session_id=self._records.opened.session_id, turn_id=turn_id)
        assert await self._queue.enter(turn_id), "nobody can be before it"
        resuming = self._beginning[turn_id] = self._scope.start(self._resume(turn))
        resuming.add_done_callback(_retrieve)

    async def _resume(self, turn: OpenTurn) -> Ticket:
        try:
            return await self.runner.resume(turn)
        except Exception:
            self._queue.leave()
            raise
        finally:
            del self._beginning[turn.request.turn_id]

    def wait_again(self, turn: TurnQueued) -> None:
        """Let a turn wait that an earlier actor had accepted."""
        self._enqueued[turn.request.turn_id] = None
        self._accept(turn, "").add_done_callback(_retrieve)

    async def ticket(self, turn_id: str, lost_attempt: int | None, delivered: TurnOutput | None) -> Ticket:
        """Where to read a turn that was begun; see ``TurnRun.ticket``.

        Raises:
            TurnNotFound: not one of this session's.
            GreenroomError: the turn failed with this.
        """
        if turn_id in self._beginning:
            await asyncio.shield(self._beginning[turn_id])
        ticket = await self.runner.ticket(turn_id, lost_attempt, delivered) or self._ticket_now(turn_id)
        if ticket is None:
            raise self.runner.failure(turn_id)
        return ticket

    async def ended(self, turn_id: str) -> TurnOutput:
        """The turn's output once its end is durable.

        Raises:
            TurnNotFound, GreenroomError: as ``ticket``.
        """
        while (ticket := await self.ticket(turn_id, None, None)).output is None:
            await self.runner.ended()
        assert ticket.output is not None, "it has ended"
        return ticket.output

    async def cancel(self, turn_id: str | None) -> bool:
        """See ``SessionHandle.cancel``."""
        if turn_id and self._queue.dismiss(turn_id):
            await asyncio.wait([self._beginning[turn_id]])
            return True
        if turn_id in self._beginning:
            await asyncio.wait([self._beginning[turn_id]])
        if turn_id not in (None, self.runner.turn_id):
            return False
        return await self.runner.cancel()

    def _check_idle(self) -> None:
        if not self._queue.is_idle:
            raise TurnRunning("a turn is running")

    @asynccontextmanager
    async def _held_off(self) -> AsyncIterator[None]:
        """No turn runs meanwhile; those that come wait.

        Raises:
            TurnRunning: one runs already.
        """
        self._check_idle()
        assert await self._queue.enter("held off"), "the queue was idle"
        try:
            yield
        finally:
            self.order.forget()
            if self._beginning:
                self.order.accept(next(reversed(self._beginning)))
            self._queue.leave()

    async def stop(self) -> None:
        """Stop working on them here."""
        self._queue.dismiss_all()
        beginning = list(self._beginning.values())
        await self.runner.stop()
        for task in beginning:
            task.cancel()
        await asyncio.gather(*beginning, return_exceptions=True)

    def _resolved(self, request: TurnRequest, edit: Edit | None) -> TurnRequest:
        """The request as it is journaled, with what it leaves open."""
        sampling = request.sampling
        if sampling.seed is None and sampling.temperature > 0:
            sampling = replace(sampling, seed=secrets.randbits(31))
        limit = (edit and edit.max_context) or self._records.opened.max_context
        return replace(request, sampling=sampling, max_context=min(request.max_context or limit, limit))

    def _ticket_now(self, turn_id: str) -> Ticket | None:
        ended, failed = self._records.history.turn(turn_id), self._records.history.failed.get(turn_id)
        if ended is None and failed is not None and failed.reason is None:
            start = TurnStart(turn_id, failed.base_length, (), 0)
            return Ticket(0, start, None, TurnOutput(finish=Finish("cancelled")))
        return Ticket(0, ended.start, None, ended.output) if ended else None

    async def _begin(self, turn: TurnQueued, listener: str, before: asyncio.Task[None] | None) -> Ticket:
        turn_id = turn.request.turn_id
        try:
            if not await self._queue.enter(turn_id):
                return await self._dismissed(turn.request, before)
            try:
                if before is not None:
                    await asyncio.shield(before)
                return await self.runner.start(turn, listener, turn_id in self._enqueued)
            except BaseException:
                self.order.withdraw(turn_id)
                self._queue.leave()
                raise
        finally:
            del self._beginning[turn_id], self._waiting[turn_id]
            self._enqueued.pop(turn_id, None)

    async def _dismissed(self, request: TurnRequest, before: asyncio.Task[None] | None) -> Ticket:
        """A turn was cancelled before it started, or the session leaves this actor."""
        if before is not None:
            await asyncio.shield(before)
        if request.note and not self._records.is_fenced:
            await self._records.write(TurnDismissed(request))
        start = TurnStart(request.turn_id, len(self._records.history.tokens), (), 0)
        return Ticket(0, start, None, TurnOutput(finish=Finish("cancelled")))


def _retrieve(task: asyncio.Task[Ticket]) -> None:
    """Retrieve the exception so that asyncio does not log it when no caller waits; the runner keeps it."""
    if not task.cancelled():
        task.exception()
