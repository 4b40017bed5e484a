"""The turns of a model actor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from actors.engine.constraints.answers import EngineConstraint, constraint_of
from actors.engine.contract import EVICT_FIRST, Admission, Engine, Output, tokens_hash
from actors.models.messages import EVICTION_RANKS, AttachedTurn, PollReply, StartTurn, TurnOutput
from actors.models.metrics import ModelMetrics
from actors.models.poll import Pollers
from actors.models.probation import Probation
from actors.models.prompt import PromptTokenizer, prompt_ids
from actors.models.turn import ModelTurn
from actors.models.warm import WarmContexts
from actors.settings import ModelSettings
from api.answers.formats import AnswerFormat
from api.errors import GreenroomError, TurnNotFound, Unavailable, reason_of
from api.logs import event_logger
from api.turns import TurnStart

log = event_logger("greenroom.model")


class TurnTokenizer(PromptTokenizer, Protocol):
    """What turns need of a tokenizer."""

    @property
    def answers(self) -> AnswerFormat:
        """What the model's answers look like."""
        ...


class ModelTurns:
    """The turns of one engine by their keys, each with its output, until that has been read or is too old.

    Attributes:
        is_draining: no new turns are taken.
    """

    READ_RETENTION_S = 30.0
    """How long the output of an ended turn stays readable once it has been handed out to its end."""

    def __init__(
        self,
        settings: ModelSettings,
        engine: Engine,
        tokenizer: TurnTokenizer,
        max_context: int,
        metrics: ModelMetrics | None,
    ) -> None:
        self.is_draining = False
        self._settings = settings
        self._engine = engine
        self._tokenizer = tokenizer
        self._max_context = max_context
        self._metrics = metrics
        self._turns: dict[str, ModelTurn] = {}
        self._beginning: dict[str, StartTurn] = {}
        self._pollers = Pollers(settings.poll_interval_s)
        self._probation = Probation()
        self._warm = WarmContexts(engine, settings.max_warm_contexts, settings.owner_share)

    def configure(self, settings: ModelSettings) -> None:
        """Go on with other settings."""
        self._settings = settings
        self._pollers.interval_s = settings.poll_interval_s
        self._warm.configure(settings.max_warm_contexts, settings.owner_share)

    async def start(self, message: StartTurn) -> TurnStart:
        """Have a turn admitted; the same attempt at the same turn again is the same turn; see ``ModelTurn.is_of``.

        Raises:
            GreenroomError: as ``Engine.prepare`` and ``Engine.admit``.
            Unavailable: no new turns are taken.
        """
        constraint = constraint_of(message.request, self._tokenizer.answers)
        unheld = () if constraint is None else await self._engine.prepare(constraint)
        known = self._turns.get(message.key)
        if known and known.is_of(message):
            return known.start
        if self.is_draining:
            raise Unavailable("this model actor is draining")
        await self._await_place(message)
        try:
            return self._admit(message, constraint, unheld)
        finally:
            if not self._is_running(message.key):
                self._probation.leave(message.key)

    def _admit(self, message: StartTurn, constraint: EngineConstraint | None, unheld: tuple[str, ...]) -> TurnStart:
        prompt_ids = self._encode(message) if message.prompt_ids is None else message.prompt_ids
        admission = _admission(message, prompt_ids, constraint)
        if message.is_warm:
            residency = self._warm.admit(admission, message.keep_s)
        else:
            residency = self._warm.admit_owned(admission)
        turn_id = message.request.turn_id
        start = TurnStart(turn_id, message.base_length, prompt_ids, residency.num_resident, unheld)
        self._turns[message.key] = ModelTurn(message, start)
        if self._metrics:
            self._metrics.turn_admitted(message, residency)
        log.debug("turn started", turn_id=turn_id, session_id=message.context_id, attempt=message.attempt)
        return start

    def _encode(self, message: StartTurn) -> tuple[int, ...]:
        return prompt_ids(self._tokenizer, message.request, message.base_length, message.last_id, self._max_context)

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        """See ``ModelRef.poll``."""
        return await self._pollers.poll(reader_id, cursors, self._turns, wait_s)

    async def output(self, key: str, wait_s: float) -> TurnOutput:
        """See ``ModelRef.output``."""
        turn = self._turn(key)
        turn.read_at = time.monotonic()
        try:
            await asyncio.wait_for(turn.log.wait_closed(), wait_s)
        except TimeoutError:
            pass
        turn.read_at = time.monotonic()
        turn.is_read = turn.is_ended
        if turn.error:
            raise turn.error
        return turn.output()

    def attach(self, key: str) -> AttachedTurn:
        """See ``ModelRef.attach``."""
        turn = self._turn(key)
        turn.read_at = time.monotonic()
        return AttachedTurn(turn.message.attempt, turn.start, turn.log.end)

    def cancel(self, key: str) -> None:
        """See ``ModelRef.cancel``."""
        for message in [one for one in self._beginning.values() if one.key == key]:
            del self._beginning[message.context_id]
        if key in self._turns:
            self._engine.cancel(key)

    async def acquit(self, key: str) -> None:
        """See ``ModelRef.acquit``."""
        await self._probation.acquit(key)

    def refuse_new(self) -> None:
        """Take no new turns from now on."""
        self.is_draining = True

    async def wait_ended(self) -> None:
        """Until all that run now have ended."""
        await asyncio.gather(*(turn.log.wait_closed() for turn in self._turns.values() if not turn.is_ended))

    @property
    def are_running(self) -> bool:
        """One runs, or waits to."""
        return bool(self._beginning) or any(not turn.is_ended for turn in self._turns.values())

    def take(self, outputs: Iterable[Output]) -> None:
        """Append what a step has made."""
        now = time.monotonic()
        for output in outputs:
            turn = self._turns.get(output.turn_id)
            if turn is None or turn.is_ended:
                continue
            if output.error and not isinstance(output.error, GreenroomError):
                output = replace(output, error=GreenroomError(f"the engine failed on this turn: {output.error}"))
            had_first = turn.first_token_at is not None
            try:
                turn.take(output, now)
            except Exception as error:
                log.exception("a turn's output cannot be kept", turn_id=turn.turn_id)
                self._engine.cancel(turn.key)
                turn.fail(GreenroomError(f"the turn's output cannot be kept: {reason_of(error)}"), now)
            self._probation.watch(turn)
            if self._metrics and turn.first_token_at is not None and not had_first:
                self._metrics.first_token(turn)
            if turn.is_ended and turn.message.is_warm:
                self._warm.ended(turn.key)
            if turn.is_ended and self._metrics:
                self._metrics.turn_ended(turn)

    async def sweep(self) -> None:
        """Forget ended turns, and cancel turns without a reader, periodically."""
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            now = time.monotonic()
            for turn in list(self._turns.values()):
                if turn.ended_at is not None and now - turn.ended_at > self._retention_s(turn):
                    del self._turns[turn.key]
                elif not turn.is_ended and now - turn.read_at > self._settings.orphan_timeout_s:
                    log.warning("the turn has no reader; it is cancelled", turn_id=turn.turn_id)
                    turn.is_orphaned = True
                    self._engine.cancel(turn.key)
            self._pollers.forget_idle(now)

    async def _await_place(self, message: StartTurn) -> None:
        """The context's owner begins anew: what runs for it, or waits to, is of an earlier attempt or an earlier owner.

        Raises:
            GreenroomError: it was cancelled meanwhile, or its owner has begun another one.
        """
        context_id = message.context_id
        self._beginning[context_id] = message
        try:
            for turn in [turn for turn in self._turns.values() if turn.message.context_id == context_id]:
                if not turn.is_ended:
                    self._engine.cancel(turn.key)
                    await turn.log.wait_closed()
            if message.is_suspect:
                await self._probation.enter(message.key)
        finally:
            is_first = self._beginning.get(context_id) is message
            if is_first:
                del self._beginning[context_id]
        if not is_first:
            self._probation.leave(message.key)
            raise GreenroomError(f"turn {message.request.turn_id!r} was cancelled before it began")

    def _is_running(self, key: str) -> bool:
        return key in self._turns and not self._turns[key].is_ended

    def _turn(self, key: str) -> ModelTurn:
        if key not in self._turns:
            raise TurnNotFound(key)
        return self._turns[key]

    def _retention_s(self, turn: ModelTurn) -> float:
        longest_s = self._settings.log_retention_s
        return min(self.READ_RETENTION_S, longest_s) if turn.is_read else longest_s


def _admission(message: StartTurn, prompt_ids: tuple[int, ...], constraint: EngineConstraint | None) -> Admission:
    request, context = message.request, message.context
    created = context is not None or message.base_length == 0
    return Admission(
        turn_id=message.key,
        context_id=message.context_id,
        base_length=0 if created else message.base_length,
        base_hash=tokens_hash(()) if created else message.base_hash,
        tokens=(*(context or ()), *prompt_ids, *message.prior.ids),
        sampling=request.sampling,
        stop=request.stop,
        num_prior_output=len(message.prior.ids),
        create=created,
        max_context=request.max_context,
        skip_special_tokens=request.skip_special_tokens,
        eviction_rank=EVICT_FIRST if message.is_temporary else EVICTION_RANKS[message.policy],
        is_temporary=message.is_temporary,
        allowed_tokens=request.allowed_tokens,
        constraint=constraint,
        distribution=request.distribution,
        embedding=request.embedding,
        holes=message.holes if created else (),
        tenant=message.context_id if message.is_temporary and not message.is_warm else message.owner,
        owner=message.owner,
        adapter=message.adapter,
    )
