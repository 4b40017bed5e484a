"""The turns of one session: one at a time, each journaled at its start and its end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeGuard

from actors.calls.scope import Scope
from actors.contexts.context import ContextRef
from actors.contexts.deaths import Deaths
from actors.contexts.placed import Contents
from actors.contexts.run import Ticket, TurnRun
from actors.models.messages import TurnOutput
from actors.sessions.ended_turns import running_record
from actors.sessions.listeners import Listeners
from actors.sessions.queue import TurnQueue
from actors.sessions.records import Edited, TurnDismissed, TurnEnded, TurnFailed, TurnQueued, TurnRestarted, TurnStarted
from actors.sessions.stream import SessionRecords
from api.cluster import Edit, TurnRecord
from api.errors import Fenced, GreenroomError, NotLast, TurnNotFound, TurnRunning, reason_of
from api.logs import event_logger
from api.turns import Finish, TurnRequest, TurnStart

log = event_logger("greenroom.session")


class SessionTurns:
    """Begins turns in the order they came, and follows each to its durable end, even if nobody reads it.

    Attributes:
        last_ended_at: when the last turn ended, seconds since the epoch; 0 before.
    """

    MAX_FAILURES = 64
    """Turns whose failure is remembered for who asks later."""

    def __init__(
        self, records: SessionRecords, context: ContextRef, listeners: Listeners, max_queued: int, scope: Scope
    ) -> None:
        self.last_ended_at = 0.0
        self._records = records
        self._context = context
        self._scope = scope
        self._listeners = listeners
        self._queue = TurnQueue(max_queued)
        self._beginning: dict[str, asyncio.Task[Ticket]] = {}
        self._waiting: dict[str, TurnRequest] = {}
        self._enqueued: set[str] = set()
        self._run: TurnRun | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: OrderedDict[str, GreenroomError] = OrderedDict()
        self._accepted: str | None = None

    @property
    def is_idle(self) -> bool:
        """No turn runs or waits."""
        return self._queue.is_idle

    @property
    def shown_ids(self) -> set[str]:
        """Of the turns that are not hidden, those included that are about to start."""
        history = self._records.history
        return history.shown_ids | (self._beginning.keys() - history.hidden)

    @property
    def running_id(self) -> str | None:
        """The id of the turn that runs."""
        return self._run.request.turn_id if self._run else None

    @property
    def version(self) -> str | None:
        """See ``SessionLog``."""
        history = self._records.history
        version = self._accepted or history.version
        return None if version in history.hidden else version

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The ids of those that run or wait, in their order."""
        running = self.running_id
        return (*((running,) if running else ()), *(turn_id for turn_id in self._beginning if turn_id != running))

    async def begin(
        self, request: TurnRequest, listener: str, after: str | None = None, edit: Edit | None = None
    ) -> Ticket:
        """See ``SessionHandle.begin``. All but this listener are told of it."""
        known = self._ticket_now(request.turn_id)
        if known:
            return known
        if request.turn_id in self._records.history.quarantined:
            raise GreenroomError(Deaths.SENTENCE)
        if request.turn_id == self.running_id:
            return await self.ticket(request.turn_id, None, None)
        if request.turn_id not in self._beginning:
            self._check_last(after)
            writing = self._scope.start(self._write_edit(edit)) if self._is_to_make(edit) else None
            self._accept(self._settled(request, edit), listener, writing)
        return await asyncio.shield(self._beginning[request.turn_id])

    async def enqueue(self, request: TurnRequest, after: str | None, edit: Edit | None = None) -> None:
        """See ``SessionHandle.enqueue``."""
        turn_id, history = request.turn_id, self._records.history
        if turn_id in (*self._beginning, self.running_id) or turn_id in history.shown_ids | history.hidden:
            return
        self._check_last(after)
        self._queue.check_room()
        is_edited, request = self._is_to_make(edit), self._settled(request, edit)
        self._enqueued.add(turn_id)
        writing = self._scope.start(self._write_queued(request, edit if is_edited else None))
        self._accept(request, "", writing).add_done_callback(_retrieve)
        await asyncio.shield(writing)

    async def edit(self, edit: Edit, after: str | None) -> None:
        """See ``SessionHandle.edit``."""
        if edit.edit_id in self._records.history.edit_ids:
            return
        self._check_last(after)
        if not self._is_to_make(edit):
            return
        self._accepted = edit.edit_id
        if not edit.is_anew:
            return await self._write_edit(edit)
        async with self.held_off():
            await self._write_edit(edit)

    def _is_to_make(self, edit: Edit | None) -> TypeGuard[Edit]:
        """Whether there is an edit that has not been made.

        Raises:
            TurnRunning: it cannot be now.
        """
        if edit is None or edit.edit_id in self._records.history.edit_ids:
            return False
        if edit.is_anew and (self._beginning or not self._queue.is_idle):
            raise TurnRunning("a turn is running: the context cannot begin anew")
        return True

    async def _write_edit(self, edit: Edit) -> None:
        await self._records.write(Edited(edit))
        if edit.model is not None:
            await self._context.move(edit.model)

    async def _write_queued(self, request: TurnRequest, edit: Edit | None) -> None:
        if edit is not None:
            await self._write_edit(edit)
        await self._records.write(TurnQueued(request))

    def record(self, turn_id: str) -> TurnRecord:
        """See ``SessionHandle.turn``."""
        history, waiting = self._records.history, self._waiting.get(turn_id)
        record = history.record(turn_id)
        if record is None and waiting is not None and turn_id not in history.hidden:
            record = running_record(waiting, len(history.tokens), is_waiting=True)
        if record is None:
            raise TurnNotFound(turn_id)
        return record

    def _accept(
        self, request: TurnRequest, listener: str, before: asyncio.Task[None] | None = None
    ) -> asyncio.Task[Ticket]:
        """Let a turn wait for its place, and start it; what is ``before`` must succeed first."""
        turn_id = request.turn_id
        self._accepted = turn_id
        self._waiting[turn_id] = request
        task = self._beginning[turn_id] = self._scope.start(self._begin(request, listener, before))
        return task

    def _check_last(self, after: str | None) -> None:
        if after in self._records.history.hidden:
            raise TurnNotFound(after)
        if after is not None and not self._will_end_with(after):
            raise NotLast(f"the session does not end with {after!r:.100}")

    def _will_end_with(self, turn_id: str) -> bool:
        """Whether nothing comes after this turn or edit, once the turns that run or wait have ended."""
        last, history = next(reversed(self._beginning), self.running_id), self._records.history
        is_end = last == turn_id if last else history.ends_with(turn_id)
        is_changed = bool(history.told) or history.is_stale or history.is_delisted
        return (is_end and not is_changed) or turn_id == self.version

    async def take_up(self, request: TurnRequest) -> None:
        """Go on with the turn that an earlier actor left unfinished; before any other begins."""
        log.info("resumes a turn", session_id=self._context.id, turn_id=request.turn_id)
        assert await self._queue.enter(request.turn_id), "nobody can be before it"
        resuming = self._beginning[request.turn_id] = self._scope.start(self._resume(request))
        resuming.add_done_callback(_retrieve)

    def wait_again(self, request: TurnRequest) -> None:
        """Let a turn wait that an earlier actor had accepted."""
        self._enqueued.add(request.turn_id)
        self._accept(request, "").add_done_callback(_retrieve)

    async def ticket(self, turn_id: str, lost_attempt: int | None, delivered: TurnOutput | None) -> Ticket:
        """Where to read a turn that was begun; see ``TurnRun.ticket``.

        Raises:
            TurnNotFound: not one of this session's.
            GreenroomError: the turn failed with this.
        """
        if turn_id in self._beginning:
            await asyncio.shield(self._beginning[turn_id])
        run, running = self._run, self._running
        if run and running and run.request.turn_id == turn_id:
            asking = asyncio.ensure_future(run.ticket(lost_attempt, delivered))
            await asyncio.wait([asking, running], return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                return asking.result()
            asking.cancel()
        known = self._ticket_now(turn_id)
        if known is None:
            raise self._failure(turn_id)
        return known

    async def ended(self, turn_id: str) -> TurnOutput:
        """The turn's output once its end is durable.

        Raises:
            TurnNotFound, GreenroomError: as ``ticket``.
        """
        while (ticket := await self.ticket(turn_id, None, None)).output is None:
            if self._running:
                await asyncio.shield(self._running)
        assert ticket.output is not None, "it has ended"
        return ticket.output

    async def cancel(self, turn_id: str | None) -> bool:
        """See ``SessionHandle.cancel``."""
        if turn_id and self._queue.dismiss(turn_id):
            await asyncio.wait([self._beginning[turn_id]])
            return True
        if turn_id in self._beginning:
            await asyncio.wait([self._beginning[turn_id]])
        if self._run is None or turn_id not in (None, self._run.request.turn_id):
            return False
        await self._run.cancel()
        return True

    @asynccontextmanager
    async def held_off(self) -> AsyncIterator[None]:
        """No turn runs meanwhile; those that come wait.

        Raises:
            TurnRunning: one runs already.
        """
        if not self._queue.is_idle:
            raise TurnRunning("a turn is running")
        assert await self._queue.enter("held off"), "the queue was idle"
        try:
            yield
        finally:
            self._accepted = next(reversed(self._beginning), None)
            self._queue.leave()

    async def stop(self) -> None:
        """Stop working on them here."""
        self._queue.dismiss_all()
        tasks = [task for task in (self._running, *self._beginning.values()) if task and not task.done()]
        if self._run:
            await self._run.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _settled(self, request: TurnRequest, edit: Edit | None = None) -> TurnRequest:
        sampling = request.sampling
        if sampling.seed is None and sampling.temperature > 0:
            sampling = replace(sampling, seed=secrets.randbits(31))
        limit = (edit and edit.max_context) or self._records.opened.max_context
        return replace(request, sampling=sampling, max_context=min(request.max_context or limit, limit))

    def _failure(self, turn_id: str) -> GreenroomError:
        """Why there is nothing to read of this turn."""
        if turn_id in self._records.history.quarantined:
            return GreenroomError(Deaths.SENTENCE)
        return self._failed.get(turn_id) or TurnNotFound(turn_id)

    def _ticket_now(self, turn_id: str) -> Ticket | None:
        ended, failed = self._records.history.turn(turn_id), self._records.history.failed.get(turn_id)
        if ended is None and failed is not None and failed.reason is None:
            start = TurnStart(turn_id, failed.base_length, (), 0)
            return Ticket(0, start, None, TurnOutput(finish=Finish("cancelled")))
        return Ticket(0, ended.start, None, ended.output) if ended else None

    async def _begin(self, request: TurnRequest, listener: str, before: asyncio.Task[None] | None) -> Ticket:
        try:
            if not await self._queue.enter(request.turn_id):
                return await self._dismissed(request, before)
            try:
                if before is not None:
                    await asyncio.shield(before)
                return await self._start(request, listener)
            except BaseException:
                self._queue.leave()
                raise
        finally:
            del self._beginning[request.turn_id], self._waiting[request.turn_id]

    async def _dismissed(self, request: TurnRequest, before: asyncio.Task[None] | None) -> Ticket:
        """A turn was cancelled before it started, or the session leaves this actor."""
        if before is not None:
            await asyncio.shield(before)
        if request.note and not self._records.is_fenced:
            await self._records.write(TurnDismissed(request))
        start = TurnStart(request.turn_id, len(self._records.history.tokens), (), 0)
        return Ticket(0, start, None, TurnOutput(finish=Finish("cancelled")))

    async def _start(self, request: TurnRequest, listener: str) -> Ticket:
        told = self._records.history.told
        request = replace(request, prompt=(*told, *request.prompt))
        run = self._run_of(request)
        writing = self._scope.start(self._records.write(TurnStarted(request, len(told))))
        try:
            await run.start()
        except Exception as error:
            await writing
            reason = reason_of(error) if request.turn_id in self._enqueued else ""
            await self._records.write(TurnFailed(request.turn_id, run.deaths.are_too_many, reason))
            raise
        await writing
        log.info(
            "turn started",
            session_id=self._context.id,
            turn_id=request.turn_id,
            prompt_tokens=len(run.started.prompt_ids),
            resident_tokens=run.started.num_resident,
        )
        self._listeners.tell(self._records.history.last_started[0], request.turn_id, listener)
        return await self._follow(run)

    async def _resume(self, request: TurnRequest) -> Ticket:
        run = self._run_of(request)
        try:
            if not await run.attach():
                await run.deaths.while_running()
                await run.start()
            return await self._follow(run)
        except Exception as error:
            await self._fail(run, error)
            self._queue.leave()
            raise
        finally:
            del self._beginning[request.turn_id]

    def _run_of(self, request: TurnRequest) -> TurnRun:
        history = self._records.history
        contents = Contents(tuple(history.tokens), adapter=self._records.opened.adapter)
        note = TurnRestarted(request.turn_id)
        return self._context.run(request, contents, Deaths(history.num_restarts, lambda: self._records.write(note)))

    async def _follow(self, run: TurnRun) -> Ticket:
        self._run = run
        self._running = self._scope.start(self._finish(run))
        return await run.ticket()

    async def _finish(self, run: TurnRun) -> None:
        turn_id = run.request.turn_id
        try:
            output = await run.end()
            start = run.started
            ended = TurnEnded(turn_id, start.prompt_ids, output, start.num_resident, round(time.time(), 3))
            await self._records.write(ended)
            finish, count = output.finish, len(output.ids)
            reason = finish.reason if finish else None
            log.info("turn ended", session_id=self._context.id, turn_id=turn_id, reason=reason, output_tokens=count)
            self.last_ended_at = time.time()
            await self._context.turn_ended(len(self._records.history.tokens))
        except Fenced:
            log.info("another actor has the session", session_id=self._context.id)
        except GreenroomError as error:
            log.warning("turn failed", session_id=self._context.id, turn_id=turn_id, error=str(error))
            await self._fail(run, error)
        except Exception as bug:
            log.exception("turn failed", session_id=self._context.id, turn_id=turn_id)
            await self._fail(run, bug)
        finally:
            self._run = self._running = None
            self._queue.leave()

    async def _fail(self, run: TurnRun, error: Exception) -> None:
        turn_id = run.request.turn_id
        if not isinstance(error, GreenroomError):
            error = GreenroomError(f"the turn failed: {reason_of(error)}")
        self._failed[turn_id] = error
        while len(self._failed) > self.MAX_FAILURES:
            self._failed.popitem(last=False)
        try:
            await self._records.write(TurnFailed(turn_id, run.deaths.are_too_many, reason_of(error)))
        except GreenroomError:
            self._records.leave()


def _retrieve(task: asyncio.Task[Ticket]) -> None:
    """Retrieve the exception so that asyncio does not log it when no caller waits; ``_failed`` keeps it."""
    if not task.cancelled():
        task.exception()
