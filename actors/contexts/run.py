"""One turn of a context, over the deaths of model actors."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from actors.contexts.deaths import Deaths
from actors.contexts.placed import Contents, PlacedContext
from actors.models.messages import StartTurn, TurnOutput, turn_key
from actors.models.ref import ModelRef
from api.errors import CapacityExhausted, ContextLost, GreenroomError, ModelLost, TurnNotFound, Unavailable
from api.logs import event_logger
from api.turns import TurnRequest, TurnStart

log = event_logger("greenroom.session")


@dataclass(frozen=True, slots=True)
class Ticket:
    """From a session: where the frames of a turn are to be had. ``output`` is set once the turn has ended."""

    attempt: int
    start: TurnStart
    model: ModelRef | None = None
    output: TurnOutput | None = None


class TurnRun:
    """Runs one turn to its end. Attempt 1 believes the context resident; a lost model actor costs an attempt.

    What has been delivered is the prefix of the next attempt, so that no reader sees a token twice or misses one.

    Args:
        context: where the turn runs, and where its KV lies afterwards.
        contents: of the context before the turn.
        deaths: of model actors that the turn was in before this owner had it.

    Attributes:
        placement: the model actor that it was last started on.
        delivered: the part of the output that no later attempt may contradict.
    """

    WAIT_S = 10.0
    WATCH_S = 0.05
    RETRY_S = 0.05
    DELIVERY_GRACE_S = 0.25
    CANCEL_S = 5.0

    def __init__(
        self, context: PlacedContext, request: TurnRequest, contents: Contents, deaths: Deaths | None = None
    ) -> None:
        self.request = request
        self.placement = context.placement
        self.deaths = deaths or Deaths()
        self.delivered = TurnOutput()
        self.is_cancelled = False
        self._context = context
        self._contents = contents
        self._attempt = 0
        self._start: TurnStart | None = None
        self._reported = asyncio.Event()
        self._changed = asyncio.Event()
        self._num_prior = self._num_tickets = 0
        self._acquitting: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        """Names the turn on its model actor."""
        return turn_key(self._context.id, self.request.turn_id)

    async def start(self, delivered: TurnOutput | None = None) -> None:
        """Get the turn admitted, after what has been delivered of it.

        Raises:
            InvalidRequest, LengthExceeded, Unsupported: it cannot be.
            Unavailable: not within the time for recovery.
            GreenroomError: model actors died of it.
        """
        deadline = time.monotonic() + self._context.timeout_s
        self.delivered = delivered or self.delivered
        self._attempt += 1
        lost: str | None = None
        is_resident = self.placement is not None and self._attempt == 1
        while True:
            placement = self.placement = await self._context.place(lost)
            if lost and placement.has_lost_retired:
                self.deaths.retired(lost)
            try:
                start = await placement.model.start_turn(self._message(is_resident))
                self._started(start)
                return
            except ContextLost:
                assert not is_resident or self._contents.ids, "an empty context cannot be lost"
                is_resident = False
            except (ModelLost, Unavailable) as error:
                if isinstance(error, ModelLost):
                    self.deaths.while_starting(placement.incarnation)
                if isinstance(error, CapacityExhausted) or time.monotonic() >= deadline:
                    raise Unavailable(str(error)) if isinstance(error, ModelLost) else error from None
                lost, is_resident = placement.incarnation, False
                await asyncio.sleep(self.RETRY_S)

    async def attach(self) -> bool:
        """Find the turn where an earlier owner of this session began it; False where it is not to be found."""
        self.placement = await self._context.place()
        try:
            attached = await self.placement.model.attach(self.key)
        except (TurnNotFound, ModelLost):
            return False
        if attached.start.base_length != len(self._contents.ids):
            return False
        self._attempt = attached.attempt
        self._started(attached.start)
        return True

    async def end(self) -> TurnOutput:
        """Follow the turn to its end, over the deaths of model actors.

        Raises:
            GreenroomError: the turn failed.
            Unavailable: no model actor came back in time.
        """
        while True:
            assert self.placement is not None, "a turn is started before it ends"
            try:
                output = await self.placement.model.output(self.key, self.WATCH_S if self._is_watched else self.WAIT_S)
                if output.finish:
                    return output
                self.made(len(output.ids))
            except (ModelLost, TurnNotFound) as error:
                log.warning("turn lost its model actor", turn_id=self.request.turn_id, error=str(error))
                await self.restart()

    def made(self, num_tokens: int) -> None:
        """The turn has so many tokens now."""
        if self._is_watched and num_tokens - self._num_prior >= Deaths.NUM_HARMLESS:
            self._acquitting = self._context.scope.start(self._acquit())

    async def cancel(self) -> None:
        """End the turn within a step."""
        self.is_cancelled = True
        if self.placement:
            with suppress(ModelLost):
                await self.placement.model.cancel(self.key)

    async def cancel_and_wait(self) -> None:
        """End the turn, and return when it has ended."""
        await self.cancel()
        await self.wait_ended()

    async def wait_ended(self) -> None:
        """Return when a cancelled turn has ended in its engine, which takes a step, or is not there."""
        if self.placement:
            with suppress(GreenroomError):
                await self.placement.model.output(self.key, self.CANCEL_S)

    async def ticket(self, lost_attempt: int | None = None, delivered: TurnOutput | None = None) -> Ticket:
        """Where to read now; waits for a new attempt where one was lost.

        Args:
            lost_attempt: the attempt that the reader found gone.
            delivered: what the reader has so far, which no later attempt may contradict.
        """
        if delivered and len(delivered.ids) > len(self.delivered.ids):
            self.delivered = delivered
        if lost_attempt is not None and lost_attempt >= self._attempt:
            self._reported.set()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._context.timeout_s)
            except TimeoutError:
                raise Unavailable("no model actor took the turn up again in time") from None
        assert self._start is not None, "a turn is started before it is read"
        self._num_tickets += 1
        return Ticket(self._attempt, self._start, self.placement.model if self.placement else None)

    async def restart(self, delivered: TurnOutput | None = None) -> None:
        """Start another attempt after the death of the model actor.

        Raises:
            GreenroomError: as ``start``; it was running in too many deaths.
        """
        if self._num_tickets:
            try:
                await asyncio.wait_for(self._reported.wait(), self.DELIVERY_GRACE_S)
            except TimeoutError:
                pass
        self._reported.clear()
        assert self.placement is not None, "it was started"
        lost = self.placement.incarnation
        self.placement = await self._context.place(lost)
        if self.placement.incarnation != lost:
            await self.deaths.while_running()
        await self.start(delivered)
        if self.is_cancelled:
            await self.cancel()

    @property
    def is_started(self) -> bool:
        """It was admitted."""
        return self._start is not None

    @property
    def started(self) -> TurnStart:
        """As it was when it was first admitted."""
        assert self._start is not None, "not started yet"
        return self._start

    @property
    def _is_watched(self) -> bool:
        """Whether the turn is a suspect, which the model actor holds until it is acquitted."""
        return self.deaths.are_any and self._acquitting is None

    async def _acquit(self) -> None:
        assert self.placement is not None, "it was started"
        self.deaths.is_acquitted = True
        with suppress(ModelLost):
            await self.placement.model.acquit(self.key)
            self.deaths.is_acquitted = False

    def _started(self, start: TurnStart) -> None:
        self._acquitting = None
        request, model = self.request, self._context.model
        self._start = self._start or replace(
            start, tools=request.callable_tools, model=model, is_held_reply=request.is_held_reply
        )
        self._changed.set()

    def _message(self, is_resident: bool) -> StartTurn:
        self._num_prior = len(self.delivered.ids)
        context, contents = self._context, self._contents
        return StartTurn(
            request=replace(self.request, note="") if self.request.note else self.request,
            context_id=context.id,
            attempt=self._attempt,
            base_length=len(contents.ids),
            base_hash=contents.hash if is_resident else b"",
            last_id=contents.ids[-1] if contents.ids else None,
            context=None if is_resident else contents.ids,
            prompt_ids=self._start.prompt_ids if self._start else None,
            prior=self.delivered,
            policy=context.retention.policy,
            is_temporary=context.is_temporary,
            holes=() if is_resident else contents.holes,
            owner=context.owner,
            adapter=contents.adapter,
            is_suspect=self.deaths.are_any,
            is_warm=context.is_warm,
            keep_s=context.keep_s,
        )
