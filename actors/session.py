"""A session: owns one context for one user, runs its turns one at a time, and journals them."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from actors.between_turns import BetweenTurns
from actors.engine.contract import tokens_hash
from actors.history import History
from actors.journal.contract import Journal
from actors.messages import Placement, SessionSeed, Ticket, TurnOutput
from actors.records import Opened, Record, RolledBack, TurnEnded, TurnFailed, TurnStarted, decode, encode
from actors.settings import SessionSettings
from actors.turn_queue import TurnQueue
from actors.turn_run import TurnRun
from api.cluster import SessionDescription, TurnRecord
from api.errors import Conflict, Fenced, GreenroomError, InvalidRequest, ModelLost, Moved, TurnNotFound
from api.logs import event_logger
from api.turns import Finish, TurnRequest, TurnStart

log = event_logger("greenroom.session")


class Directory(Protocol):
    """What a session needs of the directory."""

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """The model actor for a context; see ``DirectoryRef.place``."""
        ...

    async def adopt(self, seed: SessionSeed) -> object:
        """Open a session that has a past; see ``DirectoryRef.adopt``."""
        ...


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What every session on an actor is made with."""

    journal: Journal
    directory: Directory
    settings: SessionSettings
    recovery_timeout_s: float


class Session:
    """One context and its turns. Belongs to one event loop; the journal's epoch makes it the only one of its id.

    A turn runs on when its reader leaves; it ends by itself, by ``cancel``, or with the session. Any call raises
    ``Moved`` once another actor has taken the session over.
    """

    def __init__(self, parts: SessionParts, session_id: str) -> None:
        self.session_id = self.id = session_id
        self.owner = ""
        self.is_spent = False
        self._parts = parts
        self._queue = TurnQueue(parts.settings.max_queued_turns)
        self._beginning: dict[str, asyncio.Task[Ticket]] = {}
        self._run: TurnRun | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: dict[str, GreenroomError] = {}
        self._last_used_at = time.time()
        self._is_fenced = False
        self._history: History
        self._opened: Opened
        self._between: BetweenTurns
        self._epoch = 0
        self._created_at = 0.0

    async def create(self, seed: SessionSeed) -> None:
        """Make the session. Durable on return.

        Raises:
            Conflict: the id is taken.
        """
        opened = Opened(
            seed.session_id, seed.model, seed.retention, seed.max_context, seed.idle_timeout_s, seed.adapter
        )
        records = (encode(opened), *seed.records)
        expires_at = _expiry(seed.idle_timeout_s)
        acquired = await self._parts.journal.create(self.session_id, seed.owner, seed.model, records, expires_at)
        self._open(acquired.records, acquired.info.owner, acquired.info.epoch, acquired.info.created_at)

    async def activate(self) -> None:
        """Take the session over from an actor that is gone, and go on with the turn that it left unfinished.

        Raises:
            NotFound: there is no such session.
        """
        acquired = await self._parts.journal.acquire(self.session_id)
        self._open(acquired.records, acquired.info.owner, acquired.info.epoch, acquired.info.created_at)
        request = self._history.open_request
        if request:
            log.info("takes up a turn again", session_id=self.session_id, turn_id=request.turn_id)
            assert await self._queue.enter(request.turn_id), "nobody can be before it"
            resuming = self._beginning[request.turn_id] = asyncio.create_task(self._resume_turn(request))
            resuming.add_done_callback(_retrieve)

    async def begin(self, request: TurnRequest) -> Ticket:
        """See ``SessionHandle.begin``."""
        self._use()
        self._between.message()
        known = self._ticket_now(request.turn_id)
        if known:
            return known
        if request.turn_id not in self._beginning:
            self._beginning[request.turn_id] = asyncio.create_task(self._begin(self._settled(request)))
        return await asyncio.shield(self._beginning[request.turn_id])

    async def ticket(
        self, turn_id: str, lost_attempt: int | None = None, delivered: TurnOutput | None = None
    ) -> Ticket:
        """Where to read a turn that was begun; see ``TurnRun.ticket``.

        Raises:
            TurnNotFound: not one of this session's.
            GreenroomError: the turn failed with this.
        """
        self._use()
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
            raise self._failed.get(turn_id) or TurnNotFound(turn_id)
        return known

    async def ended(self, turn_id: str) -> TurnOutput:
        """The turn's output once its end is durable.

        Raises:
            TurnNotFound, GreenroomError: as ``ticket``.
        """
        while (ticket := await self.ticket(turn_id)).output is None:
            if self._running:
                await asyncio.shield(self._running)
        assert ticket.output is not None, "it has ended"
        return ticket.output

    async def cancel(self, turn_id: str | None = None) -> bool:
        """See ``SessionHandle.cancel``."""
        self._use()
        if turn_id and self._queue.dismiss(turn_id):
            return True
        if turn_id in self._beginning:
            await asyncio.wait([self._beginning[turn_id]])
        if self._run is None or turn_id not in (None, self._run.request.turn_id):
            return False
        await self._run.cancel()
        return True

    async def typing(self) -> None:
        """See ``SessionHandle.typing``."""
        self._use()
        if self._opened.retention.policy == "predictive" and self._run is None:
            self._between.refill(0.0)

    async def fork(self, target_id: str, length: int | None) -> None:
        """Open a session of this id with a prefix of this one; see ``SessionHandle.fork``. Repeating is safe."""
        self._use()
        if length is None and self._run:
            raise Conflict("a turn is running; say at which length to fork")
        records = tuple(encode(record) for record in self._history.prefix(length))
        tokens = self._history.tokens[:length]
        if self._between.placement and tokens:
            try:
                await self._between.placement.model.fork(self.session_id, target_id, len(tokens), tokens_hash(tokens))
            except (GreenroomError, ModelLost) as error:
                log.debug("fork starts without KV", session_id=target_id, error=str(error))
        opened = self._opened
        seed = SessionSeed(
            target_id,
            self.owner,
            opened.model,
            opened.retention,
            opened.max_context,
            opened.idle_timeout_s,
            records,
            self._between.placement.incarnation if self._between.placement else None,
            opened.adapter,
        )
        await self._parts.directory.adopt(seed)

    async def rollback(self, length: int, then: tuple[int, ...] = ()) -> None:
        """See ``SessionHandle.rollback``. Durable on return; repeating is safe."""
        self._use()
        if not self._queue.is_idle:
            raise Conflict("a turn is running")
        self._history.check_length(length)
        if length + len(then) > self._opened.max_context + 1:
            raise InvalidRequest(f"this context holds at most {self._opened.max_context + 1} tokens")
        assert await self._queue.enter("rollback"), "the queue was idle"
        try:
            await self._write(RolledBack(length, then))
        finally:
            self._queue.leave()

    async def describe(self) -> SessionDescription:
        """See ``SessionHandle.describe``."""
        residency = None
        if self._between.placement:
            with suppress(ModelLost):
                residency = await self._between.placement.model.residency(self.session_id)
        turns = [turn.record() for turn in self._history.turns]
        length = len(self._history.tokens)
        if request := self._history.open_request:
            turns.append(TurnRecord(request.turn_id, request.prompt, "", length, length, 0, None))
        return SessionDescription(
            self.session_id,
            self._opened.model,
            self._opened.retention,
            length,
            self._opened.max_context,
            residency.num_resident if residency else 0,
            self._created_at,
            self._last_used_at,
            self._run.request.turn_id if self._run else None,
            tuple(turns),
            self._opened.adapter,
        )

    async def close(self) -> None:
        """End the session for good: cancel its turn, free its context, delete its journal. Idempotent."""
        await self.stop()
        if self._between.placement:
            with suppress(ModelLost):
                await self._between.placement.model.close(self.session_id)
        await self._parts.journal.delete(self.session_id)

    async def stop(self) -> None:
        """Stop working on the session here, and leave it to whoever activates it next."""
        self._is_fenced = True
        self._queue.dismiss_all()
        tasks = [task for task in (self._running, *self._beginning.values()) if task and not task.done()]
        if self._run:
            await self._run.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(self._between.stop(), *tasks, return_exceptions=True)

    @property
    def is_fenced(self) -> bool:
        """Another actor has the session, or it has ended; nothing more is done here."""
        return self._is_fenced

    def idle_s(self) -> float:
        """Seconds since the last use; 0 while a turn runs or waits."""
        return time.time() - self._last_used_at if self._queue.is_idle else 0.0

    @property
    def leaves_in_s(self) -> float:
        """When it is put away, if it is not used until then; seconds."""
        return self._parts.settings.passivate_after_s - self.idle_s()

    @property
    def is_expired(self) -> bool:
        """It has not been used for as long as it may be."""
        timeout_s = self._opened.idle_timeout_s
        return timeout_s is not None and self.idle_s() >= timeout_s

    def _open(self, records: tuple[bytes, ...], owner: str, epoch: int, created_at: float) -> None:
        self._history = History.replay(decode(record) for record in records)
        assert self._history.opened is not None, "the first record opens the session"
        self._opened = self._history.opened
        self._between = BetweenTurns(self.session_id, self._opened.retention)
        self.owner, self._epoch, self._created_at = owner, epoch, created_at

    def _use(self) -> None:
        if self._is_fenced:
            raise Moved(f"session {self.session_id!r} is not here any longer")
        self._last_used_at = time.time()

    def _settled(self, request: TurnRequest) -> TurnRequest:
        sampling = request.sampling
        if sampling.seed is None and sampling.temperature > 0:
            sampling = replace(sampling, seed=secrets.randbits(31))
        limit = self._opened.max_context
        return replace(request, sampling=sampling, max_context=min(request.max_context or limit, limit))

    def _ticket_now(self, turn_id: str) -> Ticket | None:
        ended = self._history.turn(turn_id)
        return Ticket(0, ended.start, None, ended.output) if ended else None

    async def _begin(self, request: TurnRequest) -> Ticket:
        try:
            if not await self._queue.enter(request.turn_id):
                start = TurnStart(request.turn_id, len(self._history.tokens), (), 0)
                return Ticket(0, start, None, TurnOutput(finish=Finish("cancelled")))
            try:
                return await self._start_turn(request)
            except BaseException:
                self._queue.leave()
                raise
        finally:
            del self._beginning[request.turn_id]

    async def _start_turn(self, request: TurnRequest) -> Ticket:
        self._between.turn_starts()
        run = self._make_run(request, self._between.placement)
        writing = asyncio.create_task(self._write(TurnStarted(request)))
        try:
            await run.start()
        except GreenroomError:
            await writing
            await self._write(TurnFailed(request.turn_id))
            raise
        await writing
        log.info(
            "turn started",
            session_id=self.session_id,
            turn_id=request.turn_id,
            prompt_tokens=len(run.started.prompt_ids),
            resident_tokens=run.started.num_resident,
        )
        return await self._follow(run)

    async def _resume_turn(self, request: TurnRequest) -> Ticket:
        run = self._make_run(request, None)
        try:
            if not await run.attach():
                await run.start()
            return await self._follow(run)
        except GreenroomError as error:
            await self._fail(request.turn_id, error)
            self._queue.leave()
            raise
        finally:
            del self._beginning[request.turn_id]

    def _make_run(self, request: TurnRequest, placement: Placement | None) -> TurnRun:
        return TurnRun(
            self._parts.directory,
            self._opened.model,
            self.session_id,
            self._history.tokens,
            request,
            self._opened.retention.policy,
            self._parts.recovery_timeout_s,
            placement,
            owner=self.owner,
            adapter=self._opened.adapter,
        )

    async def _follow(self, run: TurnRun) -> Ticket:
        self._run = run
        self._between.placement = run.placement
        self._running = asyncio.create_task(self._finish(run))
        return await run.ticket()

    async def _finish(self, run: TurnRun) -> None:
        turn_id = run.request.turn_id
        try:
            output = await run.end()
            await self._write(TurnEnded(turn_id, run.started.prompt_ids, output))
            finish, count = output.finish, len(output.ids)
            reason = finish.reason if finish else None
            log.info("turn ended", session_id=self.session_id, turn_id=turn_id, reason=reason, output_tokens=count)
            self._last_used_at = time.time()
            await self._between.turn_ended(run, len(self._history.tokens))
        except Fenced:
            self._is_fenced = True
        except GreenroomError as error:
            log.warning("turn failed", session_id=self.session_id, turn_id=turn_id, error=str(error))
            await self._fail(turn_id, error)
        except Exception as bug:
            log.exception("turn failed", session_id=self.session_id, turn_id=turn_id)
            await self._fail(turn_id, GreenroomError(f"the turn failed: {bug}"))
        finally:
            self._run = self._running = None
            self._queue.leave()

    async def _fail(self, turn_id: str, error: GreenroomError) -> None:
        self._failed[turn_id] = error
        try:
            await self._write(TurnFailed(turn_id))
        except GreenroomError:
            self._is_fenced = True

    async def _write(self, record: Record) -> None:
        try:
            expires_at = _expiry(self._opened.idle_timeout_s)
            position = self._history.num_records
            await self._parts.journal.append(self.session_id, self._epoch, position, [encode(record)], expires_at)
        except Fenced:
            self._is_fenced = True
            raise
        self._history.apply(record)


def _retrieve(task: asyncio.Task[Ticket]) -> None:
    """Nobody may be waiting; a failure is kept for whoever asks."""
    if not task.cancelled():
        task.exception()


def _expiry(idle_timeout_s: float | None) -> float | None:
    return None if idle_timeout_s is None else time.time() + idle_timeout_s
