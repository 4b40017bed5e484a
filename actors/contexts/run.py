"""One turn of a session on its way through the model actors, however many it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from actors.contexts.deaths import Deaths
from actors.engine.contract import Hole, tokens_hash
from actors.models.messages import StartTurn, TurnOutput, turn_key
from actors.models.ref import Placement
from api.errors import CapacityExhausted, ContextLost, GreenroomError, ModelLost, TurnNotFound, Unavailable
from api.logs import event_logger
from api.turns import TurnRequest, TurnStart

if TYPE_CHECKING:
    from actors.models.ref import ModelRef


@dataclass(frozen=True, slots=True)
class Ticket:
    """From a session: where the frames of a turn are to be had. ``output`` is set once the turn has ended."""

    attempt: int
    start: TurnStart
    model: ModelRef | None = None
    output: TurnOutput | None = None


log = event_logger("greenroom.session")


class Placer(Protocol):
    """What a turn needs of the directory."""

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """The model actor for a context; see ``DirectoryRef.place``."""
        ...


class TurnRun:
    """Runs one turn to its end. Attempt 1 believes the context resident; a lost model actor costs an attempt.

    What has been delivered is the prefix of the next attempt, so that no reader sees a token twice or misses one.
    Made with all tokens before the turn and the holes among them; belongs to one owner of a context.
    """

    WAIT_S = 10.0
    WATCH_S = 0.05
    RETRY_S = 0.05
    DELIVERY_GRACE_S = 0.25
    CANCEL_S = 5.0

    def __init__(
        self,
        placer: Placer,
        model: str,
        context_id: str,
        tokens: Sequence[int],
        request: TurnRequest,
        policy: str,
        timeout_s: float,
        placement: Placement | None = None,
        is_temporary: bool = False,
        holes: Sequence[Hole] = (),
        delivered: TurnOutput | None = None,
        owner: str = "",
        adapter: str | None = None,
        deaths: Deaths | None = None,
    ) -> None:
        self.request = request
        self.placement = placement
        self.deaths = deaths or Deaths()
        self._placer = placer
        self._model = model
        self._context_id = context_id
        self._tokens = tuple(tokens)
        self._policy = policy
        self._timeout_s = timeout_s
        self._is_temporary = is_temporary
        self._owner = owner
        self._adapter = adapter
        self._holes = tuple(holes)
        self._attempt = 0
        self._start: TurnStart | None = None
        self._delivered = delivered or TurnOutput()
        self._reported = asyncio.Event()
        self._changed = asyncio.Event()
        self._num_prior = 0
        self._acquitting: asyncio.Task[None] | None = None
        self.is_cancelled = False
        self.num_tickets = 0

    @property
    def key(self) -> str:
        """Names the turn on its model actor."""
        return turn_key(self._context_id, self.request.turn_id)

    async def start(self) -> None:
        """Get the turn admitted.

        Raises:
            InvalidRequest, LengthExceeded, Unsupported: it cannot be.
            Unavailable: not within the time for recovery.
            GreenroomError: model actors died of it.
        """
        deadline = time.monotonic() + self._timeout_s
        self._attempt += 1
        lost: str | None = None
        is_resident = self.placement is not None and self._attempt == 1
        while True:
            placement = self.placement if self.placement and lost is None else await self._place(lost)
            self.placement = placement
            try:
                start = await placement.model.start_turn(self._message(is_resident))
                self._started(start)
                return
            except ContextLost:
                assert not is_resident or self._tokens, "an empty context cannot be lost"
                is_resident = False
            except (ModelLost, Unavailable) as error:
                if isinstance(error, ModelLost):
                    self.deaths.while_starting(placement.incarnation)
                if isinstance(error, CapacityExhausted) or time.monotonic() >= deadline:
                    raise Unavailable(str(error)) if isinstance(error, ModelLost) else error from None
                lost, is_resident = placement.incarnation, False
                await asyncio.sleep(self.RETRY_S)

    async def start_again(self) -> None:
        """Get a turn admitted whose model actor has died.

        Raises:
            GreenroomError: as ``start``; it was running in too many deaths.
        """
        await self.deaths.while_running()
        await self.start()

    async def attach(self) -> bool:
        """Find the turn where an earlier owner of this session began it; False where it is not to be found."""
        self.placement = await self._place(None)
        try:
            attached = await self.placement.model.attach(self.key)
        except (TurnNotFound, ModelLost):
            return False
        if attached.start.base_length != len(self._tokens):
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
                await self._restart()

    def made(self, num_tokens: int) -> None:
        """The turn has so many tokens now."""
        if self._is_watched and num_tokens - self._num_prior >= Deaths.NUM_HARMLESS:
            self._acquitting = asyncio.create_task(self._acquit())

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
        if delivered and len(delivered.ids) > len(self._delivered.ids):
            self._delivered = delivered
        if lost_attempt is not None and lost_attempt >= self._attempt:
            self._reported.set()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._timeout_s)
            except TimeoutError:
                raise Unavailable("no model actor took the turn up again in time") from None
        assert self._start is not None, "a turn is started before it is read"
        self.num_tickets += 1
        return Ticket(self._attempt, self._start, self.placement.model if self.placement else None)

    async def take_up(self, delivered: TurnOutput | None) -> None:
        """Start another attempt behind what has been delivered; for a turn that its reader runs itself."""
        if delivered:
            self._delivered = delivered
        await self._restart()

    async def begin_again(self, delivered: TurnOutput) -> None:
        """The same behind this, where an earlier owner had the turn cancelled."""
        self._delivered = delivered
        await self.start()

    @property
    def started(self) -> TurnStart:
        """As it was when it was first admitted."""
        assert self._start is not None, "not started yet"
        return self._start

    async def _restart(self) -> None:
        if self.num_tickets:
            try:
                await asyncio.wait_for(self._reported.wait(), self.DELIVERY_GRACE_S)
            except TimeoutError:
                pass
        self._reported.clear()
        assert self.placement is not None, "it was started"
        lost = self.placement.incarnation
        self.placement = await self._place(lost)
        if self.placement.incarnation != lost:
            await self.deaths.while_running()
        await self.start()
        if self.is_cancelled:
            await self.cancel()

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

    async def _place(self, lost: str | None) -> Placement:
        return await self._placer.place(self._model, "" if self._is_temporary else self._context_id, lost)

    def _started(self, start: TurnStart) -> None:
        self._acquitting = None
        self._start = start if self._start is None else self._start
        self._changed.set()

    def _message(self, is_resident: bool) -> StartTurn:
        self._num_prior = len(self._delivered.ids)
        known = self._start.prompt_ids if self._start else None
        return StartTurn(
            request=self.request,
            context_id=self._context_id,
            attempt=self._attempt,
            base_length=len(self._tokens),
            base_hash=tokens_hash(self._tokens, self._holes) if is_resident else b"",
            last_id=self._tokens[-1] if self._tokens else None,
            context=None if is_resident else self._tokens,
            prompt_ids=known,
            prior=self._delivered,
            policy=self._policy,
            is_temporary=self._is_temporary,
            holes=() if is_resident else self._holes,
            owner=self._owner,
            adapter=self._adapter,
            is_suspect=self.deaths.are_any,
        )
