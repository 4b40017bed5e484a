"""The turn of a session that runs, from its admission to its durable end."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from actors.calls.scope import Scope
from actors.contexts.context import ContextRef
from actors.contexts.deaths import Deaths
from actors.contexts.placed import Contents
from actors.contexts.run import Ticket, TurnRun
from actors.models.messages import TurnOutput
from actors.sessions.context import SessionContext
from actors.sessions.ended_turns import OpenTurn
from actors.sessions.listeners import Listeners
from actors.sessions.records import TurnEnded, TurnFailed, TurnQueued, TurnRestarted, TurnStarted
from actors.sessions.stream import SessionRecords
from api.errors import GreenroomError, Moved, TurnNotFound, reason_of
from api.logs import event_logger

log = event_logger("greenroom.session")


class TurnRunner:
    """Starts one turn after the other, and follows each to its durable end, even if nobody reads it.

    Attributes:
        context: where they run.
        last_ended_at: when the last turn ended, seconds since the epoch; 0 before.
        has_ended: called when a turn that ran does so no longer.
    """

    MAX_FAILURES = 64
    """Turns whose failure is remembered for who asks later."""

    def __init__(self, records: SessionRecords, context: ContextRef, listeners: Listeners, scope: Scope) -> None:
        self.context = context
        self.last_ended_at = 0.0
        self.has_ended: Callable[[], object] = lambda: None
        self._records = records
        self._listeners = listeners
        self._scope = scope
        self._run: TurnRun | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: OrderedDict[str, GreenroomError] = OrderedDict()

    @property
    def turn_id(self) -> str | None:
        """Of the turn that runs."""
        return self._run.request.turn_id if self._run else None

    async def start(self, turn: TurnQueued, listener: str, is_enqueued: bool) -> Ticket:
        """Have a turn admitted, and its start journaled meanwhile: afterwards, where it begins the context anew.

        Raises:
            GreenroomError: it cannot be; the session is as before.
        """
        self._records.check_here()
        history, request, edit = self._records.history, turn.request, turn.edit
        begun = history.context_after(edit)
        context = self.context if begun.opened is None else self.context.on(begun.opened.model)
        run = self._run_of(OpenTurn(request, begun.told), begun, context)
        started = TurnStarted(request, len(begun.told), edit)
        is_anew = edit is not None and edit.is_anew
        writing = None if is_anew else self._scope.start(self._records.write(started))
        try:
            await run.start()
            await (writing or self._records.write(replace(started, prompt_ids=run.started.prompt_ids)))
        except Exception as error:
            await self._write_failed(run, reason_of(error) if is_enqueued else "", writing)
            if run.is_started:
                await run.cancel_and_wait()
            if context is not self.context:
                await context.close()
            raise
        await self._move_to(context)
        log.info(
            "turn started",
            session_id=context.id,
            turn_id=request.turn_id,
            prompt_tokens=len(run.started.prompt_ids),
            resident_tokens=run.started.num_resident,
        )
        self._listeners.tell(history.last_started[0], request.turn_id, listener)
        return await self._follow(run)

    async def resume(self, turn: OpenTurn) -> Ticket:
        """Go on with a turn that has started elsewhere.

        Raises:
            GreenroomError: it failed.
        """
        run = self._run_of(turn, self._records.history.context, self.context)
        try:
            if not await run.attach():
                await run.deaths.while_running()
                await run.start()
            return await self._follow(run)
        except Exception as error:
            await self._fail(run, error)
            raise

    async def move(self) -> None:
        """Run turns where the session's model computes them."""
        await self._move_to(self.context.on(self._records.opened.model))

    async def ticket(self, turn_id: str, lost_attempt: int | None, delivered: TurnOutput | None) -> Ticket | None:
        """Where to read this turn; None where it does not run, or ends meanwhile. See ``TurnRun.ticket``."""
        run, running = self._run, self._running
        if run is None or running is None or run.request.turn_id != turn_id:
            return None
        asking = asyncio.ensure_future(run.ticket(lost_attempt, delivered))
        await asyncio.wait([asking, running], return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        asking.cancel()
        return None

    def failure(self, turn_id: str) -> GreenroomError:
        """Why there is nothing to read of this turn."""
        if turn_id in self._records.history.quarantined:
            return GreenroomError(Deaths.SENTENCE)
        return self._failed.get(turn_id) or TurnNotFound(turn_id)

    async def ended(self) -> None:
        """Return when the turn that runs has ended."""
        if self._running:
            await asyncio.shield(self._running)

    async def cancel(self) -> bool:
        """End the turn that runs within a step; False where none does."""
        if self._run is None:
            return False
        await self._run.cancel()
        return True

    async def stop(self) -> None:
        """Leave the turn that runs to the next activation, but cancel it."""
        running = self._running
        await self.cancel()
        if running:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _move_to(self, context: ContextRef) -> None:
        if context is not self.context:
            before, self.context = self.context, context
            await before.close()

    def _run_of(self, turn: OpenTurn, begun: SessionContext, context: ContextRef) -> TurnRun:
        contents = Contents(tuple(begun.tokens), adapter=begun.opened.adapter if begun.opened else None)
        restarted = TurnRestarted(turn.request.turn_id)
        deaths = Deaths(turn.num_restarts, lambda: self._records.write(restarted))
        return context.run(turn.whole, contents, deaths)

    async def _follow(self, run: TurnRun) -> Ticket:
        self._run = run
        self._running = self._scope.start(self._finish(run))
        return await run.ticket()

    async def _finish(self, run: TurnRun) -> None:
        session_id, turn_id = self.context.id, run.request.turn_id
        try:
            output = await run.end()
            start = run.started
            ended = TurnEnded(turn_id, start.prompt_ids, output, start.num_resident, round(time.time(), 3))
            await self._records.write(ended)
            finish, count = output.finish, len(output.ids)
            reason = finish.reason if finish else None
            log.info("turn ended", session_id=session_id, turn_id=turn_id, reason=reason, output_tokens=count)
            self.last_ended_at = time.time()
            await self.context.turn_ended(len(self._records.history.tokens))
        except Moved:
            log.info("another actor has the session", session_id=session_id)
        except GreenroomError as error:
            log.warning("turn failed", session_id=session_id, turn_id=turn_id, error=str(error))
            await self._fail(run, error)
        except Exception as bug:
            log.exception("turn failed", session_id=session_id, turn_id=turn_id)
            await self._fail(run, bug)
        finally:
            self._run = self._running = None
            self.has_ended()

    async def _fail(self, run: TurnRun, error: Exception) -> None:
        turn_id = run.request.turn_id
        if not isinstance(error, GreenroomError):
            error = GreenroomError(f"the turn failed: {reason_of(error)}")
        self._failed[turn_id] = error
        while len(self._failed) > self.MAX_FAILURES:
            self._failed.popitem(last=False)
        await self._write_failed(run, reason_of(error))

    async def _write_failed(self, run: TurnRun, reason: str, starting: asyncio.Task[None] | None = None) -> None:
        """Record that a turn failed; where its start or that cannot be recorded, the next activation decides."""
        try:
            if starting is not None:
                await starting
            await self._records.write(TurnFailed(run.request.turn_id, run.deaths.are_too_many, reason))
        except GreenroomError:
            self._records.leave()
