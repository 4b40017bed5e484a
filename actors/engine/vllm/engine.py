"""The engine that operators run: vLLM's ``AsyncLLM``, with contexts, retention and sampling of ours."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import override
from vllm.v1.engine.exceptions import EngineDeadError

from actors.engine.adapter_files import AdapterFiles
from actors.engine.constraints.answers import EngineConstraint
from actors.engine.constraints.grammars import Grammars
from actors.engine.context import Context, closest, forked
from actors.engine.contract import Admission, Capacity, Engine, EngineInfo, Output, Prefix, Residency, tell_nobody
from actors.engine.owners import Owners
from actors.engine.text.output import OutputRules
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.turn import Turn
from actors.engine.vllm.admissions import Admissions
from actors.engine.vllm.contexts import Contexts
from actors.engine.vllm.gate import Gate
from actors.engine.vllm.link import REFILL, TURN, Link
from actors.engine.vllm.outcome import outcome
from actors.engine.vllm.outputs import Outputs
from actors.engine.vllm.parameters import refill_parameters, turn_parameters
from actors.engine.vllm.requests import Requests
from actors.engine.vllm.settings import Places, sentence_of, vllm_config
from api.errors import CapacityExhausted, GreenroomError, IdTaken, Unavailable, UnknownAdapter
from api.logs import event_logger

log = event_logger("greenroom.engine")

MAX_WAITING = 1024
"""Turns that have not ended, at most; more are refused."""


class VllmEngine(Engine):
    """An ``Engine``: vLLM computes in processes of its own, all else is on the event loop.

    What vLLM holds for a context is known from its reports, a step later at the latest; only whole blocks of its cache
    count, so a turn computes up to ``block_size`` tokens again that came before it.
    """

    def __init__(self, config: Any, link: Link, tokenizer: Tokenizer, adapters: Sequence[str], owners: Owners) -> None:
        cache, scheduler = config.cache_config, config.scheduler_config
        self.info = EngineInfo(
            engine="vllm",
            device=str(config.device_config.device_type),
            # vLLM counts the last sampled token too.
            max_context_tokens=int(config.model_config.max_model_len) - 1,
            vocab_size=int(config.model_config.get_vocab_size()),
            eos_ids=tokenizer.eos_ids,
            features=frozenset({"allowed_tokens", "constraint", "distribution"}),
            adapters=tuple(adapters),
        )
        rules = OutputRules.of(tokenizer)
        self._link = link
        self._owners = owners
        self._compiler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammar-compiler")
        self._counters: Counter[str] = Counter()
        self._turns: dict[str, Turn] = {}
        self._requests = Requests()
        self._outputs = Outputs()
        self._cache_usage = 0.0
        self._num_unclaimed = 0
        self._num_blocks = int(cache.num_gpu_blocks) - 1
        self._contexts = Contexts(int(cache.block_size), link.call)
        self._places = Places.of(config)
        self._gate = Gate(owners, int(scheduler.max_num_seqs), int(scheduler.max_num_batched_tokens))
        self._grammars = Grammars(rules, self.info.vocab_size, self._compiler)
        self._admissions = Admissions(self._contexts, self.info, rules, self._grammars)
        link.deliver(self._take, self._note)

    @classmethod
    async def open(
        cls,
        model_path: Path,
        engine_args: Mapping[str, Any],
        tokenizer: Tokenizer,
        adapters: Sequence[AdapterFiles] = (),
        owner_share: float = 1.0,
        tell: Callable[[str], object] = tell_nobody,
    ) -> VllmEngine:
        """An engine that has loaded its model; see ``OpenEngine``."""
        config = await asyncio.to_thread(vllm_config, model_path, engine_args, adapters)
        link = Link(config, adapters)
        await link.start(tell)
        return cls(config, link, tokenizer, [files.name for files in adapters], Owners(owner_share))

    @override
    async def stop(self) -> None:
        self._compiler.shutdown(wait=False, cancel_futures=True)
        self._outputs.fail(Unavailable("the engine has been stopped"))
        await self._link.stop()

    @override
    async def prepare(self, constraint: EngineConstraint) -> tuple[str, ...]:
        return await self._grammars.prepare(constraint)

    @override
    def admit(self, admission: Admission) -> Residency:
        self._outputs.check()
        self.info.require_adapter(admission.adapter)
        if admission.turn_id in self._turns:
            raise IdTaken(f"turn {admission.turn_id!r} is running")
        if len(self._turns) >= MAX_WAITING:
            raise CapacityExhausted(f"the waiting queue is full ({MAX_WAITING} turns)")
        self._owners.check_queue(self._gate.count(admission.owner), MAX_WAITING)
        turn = self._admissions.admit(admission)
        context = turn.context
        parameters = turn_parameters(turn, self.info) if turn.finish is None else None
        self._stop_refill(context)
        self._turns[admission.turn_id] = turn
        context.turn_id = turn.turn_id
        self._counters["prompt_tokens"] += len(admission.tokens)
        num_resident = self._contexts.in_blocks(min(context.num_resident, len(context.ids) - 1))
        if parameters is not None:
            self._gate.add(turn, partial(self._send, turn, parameters))
        else:
            self._end(turn, Output(turn.turn_id, finish=turn.finish))
        return Residency(len(context.ids), num_resident)

    @override
    async def step(self) -> Sequence[Output]:
        """

        Raises:
            Unavailable: the engine has been stopped, or vLLM has failed.
        """
        return await self._outputs.take()

    @override
    def cancel(self, turn_id: str) -> None:
        turn = self._turns.get(turn_id)
        if turn is not None:
            self._abort(turn)
            self._end(turn, Output(turn_id, finish=turn.output.end("cancelled")))

    @override
    def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> Residency:
        num_before = self._contexts.num_contexts
        residency = forked(self._contexts, source_id, target_id, length, prefix_hash)
        self._counters["forks"] += self._contexts.num_contexts - num_before
        return residency

    @override
    def closest(self, context_ids: Iterable[str], tokens: Sequence[int], adapter: str | None) -> Prefix | None:
        return closest((self._contexts.get(context_id) for context_id in context_ids), tokens, adapter)

    @override
    def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        """Refused: vLLM has no holes in its attention."""
        self.info.require("mask")

    @override
    def drop(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is not None and context.turn_id is None:
            self._stop_refill(context)
            self._counters["drops"] += context.num_resident > 0
            self._contexts.drop(context)

    @override
    def refill(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is None or context.turn_id is not None or context.wants_refill:
            return
        if context.adapter not in (None, *self.info.adapters):
            return
        tokens = context.ids[: self.info.max_context_tokens]
        if context.num_resident < self._contexts.in_blocks(len(tokens)):
            self._counters["refills"] += 1
            context.wants_refill = True
            request_id = self._requests.add(context)
            self._link.request(request_id, context, tokens.tolist(), refill_parameters(context), REFILL)

    @override
    def close(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is None:
            return
        if context.turn_id is not None:
            self.cancel(context.turn_id)
        if context.is_open:
            self._close(context)

    @override
    def residency(self, context_id: str) -> Residency | None:
        context = self._contexts.get(context_id)
        return None if context is None else context.residency

    @override
    async def load_adapter(self, files: AdapterFiles) -> None:
        assert files.name not in self.info.adapters
        self._places.check(files, len(self.info.adapters))
        try:
            await self._link.add_adapter(files)
        except EngineDeadError as error:
            raise Unavailable(f"the engine is broken: {sentence_of(error)}") from error
        self.info = self.info.with_adapter(files.name)

    @override
    def unload_adapter(self, name: str) -> None:
        if name not in self.info.adapters:
            return
        self.info = self.info.without_adapter(name)
        for turn in [turn for turn in self._turns.values() if turn.context.adapter == name]:
            self._abort(turn)
            self._end(turn, Output(turn.turn_id, error=UnknownAdapter.unloaded(name)))
        for context in self._contexts:
            if context.adapter == name:
                self._stop_refill(context)
                self._contexts.drop(context)
        self._link.remove_adapter(name)

    @override
    def limit_owners(self, share: float) -> None:
        self._owners.share = share

    @override
    def capacity(self) -> Capacity:
        num_started = sum(turn.has_started for turn in self._turns.values())
        num_used = round(self._num_blocks * self._cache_usage)
        return Capacity(
            block_size=self._contexts.block_size,
            num_blocks=self._num_blocks,
            num_free_blocks=self._num_blocks - num_used,
            num_claimed_blocks=max(0, num_used - self._num_unclaimed),
            num_contexts=self._contexts.num_contexts,
            num_running=num_started,
            num_waiting=len(self._turns) - num_started,
            counters=dict(self._counters),
        )

    @override
    def check(self) -> None:
        """Of our tables; not of those of vLLM itself."""
        for turn in self._turns.values():
            assert turn.context.turn_id == turn.turn_id, f"turn {turn.turn_id} is misplaced"
            assert turn.finish is None
        assert all(context.turn_id is None or context.turn_id in self._turns for context in self._contexts)
        self._contexts.check()
        self._requests.check({turn for turn in self._turns.values() if turn not in self._gate})

    def _send(self, turn: Turn, parameters: Any) -> None:
        """Let vLLM run a turn."""
        context = turn.context
        self._link.request(self._requests.add(turn), context, context.ids.tolist(), parameters, TURN)

    # What comes back.

    def _take(self, request_id: str, output: Any) -> None:
        owner = self._requests.owner(request_id)
        if isinstance(output, EngineDeadError):
            self._outputs.fail(Unavailable(f"the engine is broken: {sentence_of(output)}"))
        elif isinstance(owner, Context):
            if isinstance(output, Exception) or output.finished:
                self._requests.forget(owner)
                owner.wants_refill = False
        elif isinstance(owner, Turn) and isinstance(output, Exception):
            error = GreenroomError(f"vLLM refused the turn: {sentence_of(output)}")
            self._end(owner, Output(owner.turn_id, error=error))
        elif isinstance(owner, Turn):
            try:
                self._take_output(owner, output)
            except Exception as error:
                log.exception("a turn failed on its token", turn_id=owner.turn_id)
                self._abort(owner)
                self._end(owner, Output(owner.turn_id, error=error))

    def _take_output(self, turn: Turn, request_output: Any) -> None:
        context = turn.context
        if not turn.has_started:
            turn.has_started = True
            self._gate.started(turn)
            self._counters["resident_tokens"] += request_output.num_cached_tokens or 0
        output = outcome(turn, request_output.outputs[0], request_output.finished)
        context.ids.extend(output.ids)
        self._counters["output_tokens"] += len(output.ids)
        has_ended = output.finish is not None or output.error is not None
        if not request_output.finished:
            self._contexts.computed(context)
            if has_ended:
                self._abort(turn)
        if has_ended:
            self._end(turn, output)
        elif output.ids:
            self._outputs.give(output)

    def _end(self, turn: Turn, output: Output) -> None:
        """A turn has ended: its context is idle, and closed if it was temporary."""
        self._requests.forget(turn)
        self._gate.ended(turn)
        del self._turns[turn.turn_id]
        turn.context.turn_id = None
        if turn.admission.is_temporary:
            self._close(turn.context)
        self._outputs.give(output)

    def _note(self, stats: Any) -> None:
        """What vLLM reports after a step."""
        self._counters["steps"] += 1
        self._cache_usage = stats.kv_cache_usage
        if report := stats.kv_connector_stats:
            self._contexts.reported(report["resident"])
            self._num_unclaimed = report["unclaimed"]
            self._counters |= {name: report[name] for name in ("evictions", "evicted_tokens")}

    # Contexts.

    def _close(self, context: Context) -> None:
        self._stop_refill(context)
        self._contexts.close(context)

    def _abort(self, turn: Turn) -> None:
        """Let vLLM end a turn; it may be ahead of what has been taken."""
        if (request_id := self._requests.forget(turn)) is not None:
            self._link.abort(request_id)
            self._contexts.trim(turn.context)

    def _stop_refill(self, context: Context) -> None:
        if (request_id := self._requests.forget(context)) is not None:
            self._link.abort(request_id)
        context.wants_refill = False
