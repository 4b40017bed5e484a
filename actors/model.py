"""The model actor: hosts one engine and hands out its turns' output."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from actors.engine.contract import EVICT_FIRST, Admission, Engine, EngineInfo, Feature, Output, Residency, tokens_hash
from actors.messages import AttachedTurn, ModelReport, PollReply, StartReport, StartTurn, TurnOutput
from actors.model_metrics import ModelMetrics
from actors.model_ref import ModelRef
from actors.model_turn import ModelTurn
from actors.progress import Progress
from actors.retention import EVICTION_RANKS
from actors.settings import ModelSettings
from actors.turn_poll import Pollers
from api.errors import GreenroomError, TurnNotFound, Unavailable
from api.logs import event_logger
from api.turns import Part, Role, TurnStart

log = event_logger("greenroom.model")


class PromptTokenizer(Protocol):
    """What a model actor needs of a tokenizer."""

    bos_id: int | None
    has_chat_template: bool

    def encode(self, text: str) -> list[int]:
        """Ids of a text alone, without a beginning-of-text token."""
        ...

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int]) -> list[int]:
        """Ids that the parts append to a context whose last ids are given."""
        ...

    def encode_parts(
        self, parts: Sequence[Part], last_id: int | None, after: Role | None, opens_answer: bool
    ) -> list[int]:
        """See ``ModelRef.encode``."""
        ...

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of ids."""
        ...


class Directory(Protocol):
    """What a model actor needs of the directory."""

    async def report(self, report: ModelReport) -> None:
        """Take note of a model actor."""
        ...

    async def report_start(self, report: StartReport) -> None:
        """Take note of a model actor that starts."""
        ...


class Model:
    """Hosts one engine: turns with an output log each, contexts, load reports. Belongs to one event loop.

    Life: made, ``start``ed (loads the model), running, perhaps draining, ended with its process. An engine that
    fails takes the process with it, and Ray starts another, with an empty cache: contexts are refilled by their owners.
    """

    READ_RETENTION_S = 30.0
    """How long the output of an ended turn stays readable once it has been handed out to its end."""

    def __init__(
        self,
        settings: ModelSettings,
        build: Callable[[ModelSettings], tuple[Engine, PromptTokenizer]],
        own_ref: Callable[[], ModelRef],
        die: Callable[[], object],
        directory: Directory | None = None,
        metrics: ModelMetrics | None = None,
    ) -> None:
        self._settings = settings
        self._build = build
        self._own_ref = own_ref
        self._die = die
        self._directory = directory
        self._metrics = metrics
        self._incarnation = secrets.token_hex(8)
        self._starting: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._turns: dict[str, ModelTurn] = {}
        self._pollers = Pollers(settings.poll_interval_s)
        self._is_draining = False
        self._engine: Engine
        self._tokenizer: PromptTokenizer
        self._info: EngineInfo

    async def start(self) -> EngineInfo:
        """Load the model and begin to serve; again: wait for that.

        Raises:
            InvalidRequest: one sentence on what is wrong with the model directory or the settings.
        """
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)
        return self._info

    async def start_turn(self, message: StartTurn) -> TurnStart:
        """See ``ModelRef.start_turn``."""
        await self.start()
        self._require_features(message)
        if message.request.constraint is not None:
            await self._engine.prepare(message.request.constraint)
        known = self._turns.get(message.key)
        if known and known.message.attempt >= message.attempt:
            return known.start
        if self._is_draining:
            raise Unavailable("this model actor is draining")
        await self._end_others(message.context_id)
        prompt_ids = message.prompt_ids
        if prompt_ids is None:
            prompt_ids = self._encode(message)
        residency = self._engine.admit(self._admission(message, prompt_ids))
        turn_id = message.request.turn_id
        start = TurnStart(turn_id, message.base_length, prompt_ids, residency.num_resident)
        self._turns[message.key] = ModelTurn(message, start)
        if self._metrics:
            self._metrics.turn_admitted(message, residency)
        log.debug("turn started", turn_id=turn_id, session_id=message.context_id, attempt=message.attempt)
        return start

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

    async def attach(self, key: str) -> AttachedTurn:
        """See ``ModelRef.attach``."""
        turn = self._turn(key)
        turn.read_at = time.monotonic()
        return AttachedTurn(turn.message.attempt, turn.start, turn.log.end)

    async def cancel(self, key: str) -> None:
        """See ``ModelRef.cancel``."""
        if key in self._turns:
            self._engine.cancel(key)

    async def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> None:
        """See ``Engine.fork``."""
        await self.start()
        self._engine.fork(source_id, target_id, length, prefix_hash)

    async def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        """See ``Engine.mask``."""
        await self.start()
        self._info.require("mask")
        self._engine.mask(context_id, start, end, length, prefix_hash)

    async def drop(self, context_id: str) -> None:
        """See ``Engine.drop``."""
        await self.start()
        self._engine.drop(context_id)

    async def refill(self, context_id: str) -> None:
        """See ``Engine.refill``."""
        await self.start()
        self._engine.refill(context_id)

    async def close(self, context_id: str) -> None:
        """See ``Engine.close``."""
        await self.start()
        self._engine.close(context_id)

    async def residency(self, context_id: str) -> Residency | None:
        """See ``Engine.residency``."""
        await self.start()
        return self._engine.residency(context_id)

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """See ``ModelRef.tokenize``."""
        await self.start()
        return tuple(self._tokenizer.encode(text))

    async def encode(
        self, parts: Sequence[Part], last_id: int | None, after: Role | None, opens_answer: bool
    ) -> tuple[int, ...]:
        """See ``ModelRef.encode``."""
        await self.start()
        return tuple(self._tokenizer.encode_parts(parts, last_id, after, opens_answer))

    async def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """See ``ModelRef.decode``."""
        await self.start()
        return self._tokenizer.decode(ids, skip_special_tokens)

    async def drain(self, timeout_s: float) -> None:
        """Take no new turns, and return when the running ones have ended, or after ``timeout_s``."""
        self._is_draining = True
        await self._report()
        running = [turn.log.wait_closed() for turn in self._turns.values() if not turn.is_ended]
        try:
            await asyncio.wait_for(asyncio.gather(*running), timeout_s)
        except TimeoutError:
            log.warning("draining took too long", timeout_s=timeout_s)

    async def health(self) -> ModelReport:
        """The state of this actor, once it has loaded.

        Raises:
            InvalidRequest: it cannot load.
        """
        await self.start()
        return self._make_report()

    async def _end_others(self, context_id: str) -> None:
        """The context's owner begins anew: what runs for it is of an earlier attempt or an earlier owner."""
        for turn in [turn for turn in self._turns.values() if turn.message.context_id == context_id]:
            if not turn.is_ended:
                self._engine.cancel(turn.key)
                await turn.log.wait_closed()

    def _require_features(self, message: StartTurn) -> None:
        request = message.request
        wanted: dict[Feature, object] = {
            "allowed_tokens": request.allowed_tokens,
            "constraint": request.constraint,
            "distribution": request.distribution,
            "mask": message.holes or None,
        }
        for feature, value in wanted.items():
            if value is not None:
                self._info.require(feature)

    def _turn(self, key: str) -> ModelTurn:
        if key not in self._turns:
            raise TurnNotFound(key)
        return self._turns[key]

    def _encode(self, message: StartTurn) -> tuple[int, ...]:
        tail = () if message.last_id is None else (message.last_id,)
        return tuple(self._tokenizer.encode_prompt(message.request.prompt, tail))

    def _admission(self, message: StartTurn, prompt_ids: tuple[int, ...]) -> Admission:
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
            constraint=request.constraint,
            distribution=request.distribution,
            holes=message.holes if created else (),
            tenant=message.context_id if message.is_temporary else message.owner,
            adapter=message.adapter,
        )

    async def _start(self) -> None:
        started_at = time.monotonic()
        log.info("loading", model=self._settings.name, path=self._settings.path)
        interval_s = self._settings.report_interval_s
        async with Progress(self._settings.name, self._incarnation, self._directory, interval_s) as progress:
            self._engine, self._tokenizer = await asyncio.to_thread(self._build, self._settings)
            self._info = await self._engine.start(progress.reached)
        self._loops = [asyncio.create_task(loop) for loop in (self._run(), self._sweep(), self._keep_reporting())]
        log.info("ready", model=self._settings.name, seconds=round(time.monotonic() - started_at, 2))

    async def _run(self) -> None:
        try:
            while True:
                outputs = await self._engine.step()
                now = time.monotonic()
                for output in outputs:
                    self._take(output, now)
                await asyncio.sleep(0)
        except Exception:
            log.exception("the engine failed; this process ends", model=self._settings.name)
            self._die()

    def _take(self, output: Output, now: float) -> None:
        turn = self._turns.get(output.turn_id)
        if turn is None or turn.is_ended:
            return
        if output.error and not isinstance(output.error, GreenroomError):
            output = replace(output, error=GreenroomError(f"the engine failed on this turn: {output.error}"))
        turn.take(output, now)
        if turn.is_ended and self._metrics:
            self._metrics.turn_ended(turn)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            now = time.monotonic()
            for turn in list(self._turns.values()):
                if turn.ended_at is not None and now - turn.ended_at > self._retention_s(turn):
                    del self._turns[turn.key]
                elif not turn.is_ended and now - turn.read_at > self._settings.orphan_timeout_s:
                    log.warning("nobody reads this turn; it is cancelled", turn_id=turn.turn_id)
                    turn.is_orphaned = True
                    self._engine.cancel(turn.key)
            self._pollers.forget_idle(now)

    def _retention_s(self, turn: ModelTurn) -> float:
        longest_s = self._settings.log_retention_s
        return min(self.READ_RETENTION_S, longest_s) if turn.is_read else longest_s

    async def _keep_reporting(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(self._settings.report_interval_s)

    async def _report(self) -> None:
        report = self._make_report()
        if self._metrics:
            self._metrics.capacity(report.capacity)
        if self._directory:
            try:
                await self._directory.report(report)
            except GreenroomError as error:
                log.warning("the directory does not take reports", error=str(error))

    def _make_report(self) -> ModelReport:
        bos_id = self._tokenizer.bos_id
        return ModelReport(
            name=self._settings.name,
            incarnation=self._incarnation,
            model=self._own_ref(),
            info=self._info,
            capacity=self._engine.capacity(),
            bos_id=bos_id,
            bos_text="" if bos_id is None else self._tokenizer.decode([bos_id], skip_special_tokens=False),
            has_chat_template=self._tokenizer.has_chat_template,
            is_draining=self._is_draining,
        )
