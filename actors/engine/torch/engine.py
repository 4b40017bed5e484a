"""The embedded engine: a ``transformers`` model on the CPU or one GPU."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from typing_extensions import override

from actors.engine.adapter_files import AdapterFiles
from actors.engine.constraints.answers import EngineConstraint
from actors.engine.constraints.grammars import Grammars
from actors.engine.context import closest, forked
from actors.engine.contract import (
    Admission,
    Capacity,
    Engine,
    EngineInfo,
    Feature,
    Hole,
    Output,
    Prefix,
    Residency,
    tell_nobody,
)
from actors.engine.owners import Owners
from actors.engine.sampling.sampler import Draw
from actors.engine.text.output import OutputRules
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.torch.admissions import Admissions
from actors.engine.torch.context_store import ContextStore
from actors.engine.torch.loader import LoadedModel, load_model
from actors.engine.torch.postprocess import Settlement
from actors.engine.torch.row import Row
from actors.engine.torch.runner import Runner
from actors.engine.torch.scheduler import Scheduler
from actors.engine.torch.settings import TorchSettings
from actors.engine.torch.step_thread import StepThread
from api.errors import ContextLost, InvalidRequest, TurnRunning, UnknownAdapter, reason_of

__all__ = ["TorchEngine", "TorchSettings"]

_FEATURES: frozenset[Feature] = frozenset({"allowed_tokens", "constraint", "distribution", "embedding", "mask"})
_MOST_WORK_ON_CPU = 16.0
"""Of one owner, see ``Scheduler``; what it is good for is measured by ``tests.benchmarks.owners``."""

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _locked(
    method: Callable[Concatenate[TorchEngine, Arguments], Answer],
) -> Callable[Concatenate[TorchEngine, Arguments], Answer]:
    """The method, run while the engine's thread neither plans nor settles."""

    @wraps(method)
    def locked(self: TorchEngine, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class TorchEngine(Engine):
    """An ``Engine``: plans, computes and settles steps in a thread of its own; all else is called on the event loop.

    The lock is held by every call that reads or changes contexts and turns, and by the thread while it plans and
    settles, not while it computes. Blocks are handed out only while planning, so that whatever is freed while a step is
    in flight is not written to by another context before that step has ended. The model's adapters change between two
    steps.
    """

    def __init__(self, settings: TorchSettings, tokenizer: Tokenizer, runner: Runner) -> None:
        loaded = runner.loaded
        self.info = EngineInfo(
            engine="torch",
            device=str(loaded.device),
            max_context_tokens=min(loaded.max_context_tokens, settings.max_context_tokens or loaded.max_context_tokens),
            vocab_size=loaded.vocab_size,
            eos_ids=tokenizer.eos_ids,
            features=_features(loaded),
            adapters=tuple(files.name for files in settings.adapters),
        )
        rules = OutputRules.of(tokenizer)
        self._lock = threading.RLock()
        self._thread = StepThread(self._advance, settings.steps_ahead)
        self._compiler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammar-compiler")
        self._counters: Counter[str] = Counter()
        self._is_stepping = False
        self._runner = runner
        self._adapters = loaded.decoder.adapters
        self._changes: deque[Callable[[], object]] = deque()
        self._contexts = ContextStore(runner.num_blocks, settings.block_size, self._counters)
        self._owners = Owners(settings.owner_share)
        self._scheduler = Scheduler(
            self._contexts,
            self._counters,
            self._owners,
            settings.max_batch_tokens,
            settings.max_running,
            settings.max_waiting,
            _MOST_WORK_ON_CPU if loaded.device.type == "cpu" else math.inf,
        )
        self._settlement = Settlement(self._contexts, self._scheduler, self._counters, runner.clear)
        self._grammars = Grammars(rules, loaded.vocab_size, self._compiler)
        self._admissions = Admissions(self._contexts, self._scheduler, self.info, rules, self._grammars, loaded.device)

    @classmethod
    async def open(
        cls, settings: TorchSettings, tokenizer: Tokenizer, tell: Callable[[str], object] = tell_nobody
    ) -> TorchEngine:
        """An engine that has loaded its model; see ``OpenEngine``."""
        tell("torch loads the weights")
        engine = cls(settings, tokenizer, await _in_passing(_load, settings))
        engine._thread.start()
        return engine

    @override
    async def stop(self) -> None:
        self._compiler.shutdown(wait=False, cancel_futures=True)
        await self._thread.stop()

    @override
    async def prepare(self, constraint: EngineConstraint) -> tuple[str, ...]:
        return await self._grammars.prepare(constraint)

    @_locked
    @override
    def admit(self, admission: Admission) -> Residency:
        self.info.require_adapter(admission.adapter)
        turn = self._admissions.admit(admission)
        context = turn.context
        self._counters["prompt_tokens"] += len(admission.tokens)
        self._counters["resident_tokens"] += context.num_resident
        self._thread.wake()
        return context.residency

    @override
    async def step(self) -> Sequence[Output]:
        """

        Raises:
            Unavailable: the engine has been stopped, or can compute nothing any more.
        """
        return await self._thread.next()

    @_locked
    @override
    def cancel(self, turn_id: str) -> None:
        turn = self._scheduler.get(turn_id)
        if turn is not None and turn.finish is None:
            turn.finish = turn.output.end("cancelled")
            self._thread.wake()

    @_locked
    @override
    def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> Residency:
        return forked(self._contexts, source_id, target_id, length, prefix_hash)

    @_locked
    @override
    def closest(self, context_ids: Iterable[str], tokens: Sequence[int], adapter: str | None) -> Prefix | None:
        return closest((self._contexts.get(context_id) for context_id in context_ids), tokens, adapter)

    @_locked
    @override
    def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        self.info.require("mask")
        if not 0 <= start < end <= length:
            raise InvalidRequest(f"a hole from {start} to {end} does not lie within {length} tokens")
        context, hole = self._contexts.get(context_id), Hole(length, start, end)
        if context is None or not context.starts_with(length, prefix_hash, without=hole):
            raise ContextLost(context_id)
        if context.turn_id is not None:
            raise TurnRunning(f"a turn is running on context {context_id!r}")
        self._contexts.cut(context, length)
        self._contexts.set_holes(context, [*context.holes, hole])

    @_locked
    @override
    def drop(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is not None and context.turn_id is None:
            self._scheduler.remove_refill(context)
            self._counters["drops"] += context.num_resident > 0
            self._contexts.keep_resident(context, 0)

    @_locked
    @override
    def refill(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is None or context.adapter not in (None, *self.info.adapters):
            return
        if context.turn_id is None and context.num_missing:
            self._counters["refills"] += not context.wants_refill
            self._contexts.touch(context)
            self._scheduler.add_refill(context)
            self._thread.wake()

    @_locked
    @override
    def close(self, context_id: str) -> None:
        context = self._contexts.get(context_id)
        if context is None:
            return
        if context.turn_id is not None:
            self.cancel(context.turn_id)
        self._scheduler.remove_refill(context)
        self._contexts.close(context)

    @_locked
    @override
    def residency(self, context_id: str) -> Residency | None:
        context = self._contexts.get(context_id)
        return None if context is None else context.residency

    @override
    async def load_adapter(self, files: AdapterFiles) -> None:
        assert files.name not in self.info.adapters
        try:
            put = await _in_passing(self._adapters.prepare, files)
        except (RuntimeError, MemoryError) as error:
            raise InvalidRequest(f"adapter {files.name!r} cannot be loaded: {reason_of(error)}") from error
        with self._lock:
            self._changes.append(put)
            self.info = self.info.with_adapter(files.name)

    @_locked
    @override
    def unload_adapter(self, name: str) -> None:
        if name not in self.info.adapters:
            return
        self.info = self.info.without_adapter(name)
        for context in self._contexts:
            if context.adapter == name:
                turn = self._scheduler.get(context.turn_id) if context.turn_id is not None else None
                if turn is not None and not turn.is_over:
                    turn.failure = UnknownAdapter.unloaded(name)
                self._scheduler.remove_refill(context)
                self._contexts.keep_resident(context, 0)
        self._changes.append(partial(self._adapters.remove, name))
        self._thread.wake()

    @_locked
    @override
    def limit_owners(self, share: float) -> None:
        self._owners.share = share

    @_locked
    @override
    def capacity(self) -> Capacity:
        """One more counter is ``preemptions``: turns whose KV another turn needed."""
        num_waiting = self._scheduler.num_waiting
        return Capacity(
            block_size=self._contexts.block_size,
            num_blocks=self._contexts.pool.num_blocks,
            num_free_blocks=self._contexts.pool.num_free,
            num_claimed_blocks=self._contexts.num_claimed,
            num_contexts=self._contexts.num_contexts,
            num_running=self._scheduler.num_turns - num_waiting,
            num_waiting=num_waiting,
            counters=dict(self._counters),
        )

    @_locked
    @override
    def check(self) -> None:
        self._contexts.check(self._is_stepping)
        self._scheduler.check()

    def _advance(self) -> Sequence[Output] | None:
        with self._lock:
            while self._changes:
                self._changes.popleft()()
            ended = [self._settlement.end(turn) for turn in self._scheduler.turns() if turn.is_over]
            rows = [] if ended else self._scheduler.plan()
            if not rows:
                assert ended or not self._scheduler.num_turns, "turns wait, but none of them can get on"
                return ended or None
            draws = [self._draw(row) for row in rows]
            copies, self._contexts.copies = self._contexts.copies, []
            self._is_stepping = True
        results = self._runner.run(rows, draws, copies)
        with self._lock:
            self._is_stepping = False
            self._counters["steps"] += 1
            outputs = (self._settlement.settle(result) for result in results)
            return [output for output in outputs if output is not None]

    def _draw(self, row: Row) -> Draw | None:
        turn = self._scheduler.get(row.turn_id) if row.samples and row.turn_id is not None else None
        if turn is None:
            return None
        return Draw(
            turn.admission.sampling,
            turn.seed,
            turn.output.num_tokens,
            turn.history,
            turn.allowed,
            turn.matcher,
            turn.admission.distribution,
        )


def _features(loaded: LoadedModel) -> frozenset[Feature]:
    """What it does with this model."""
    found: dict[Feature, bool] = {"mask": loaded.has_holes, "embedding": loaded.decoder.has_states}
    return _FEATURES - {feature for feature, has_it in found.items() if not has_it}


async def _in_passing(work: Callable[Arguments, Answer], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
    """Run it in a thread that ends: its share of OpenMP's threads would count against those that compute the steps.

    Where more are alive than cores they sleep between two operations instead of waiting awake: on two threads of an
    AMD EPYC (torch 2.13) a step of a model of 21M parameters took 10.2 ms so, and 5.7 without.
    """
    loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model-loader")
    try:
        return await asyncio.get_running_loop().run_in_executor(loader, partial(work, *args, **kwargs))
    finally:
        loader.shutdown(wait=False)


def _load(settings: TorchSettings) -> Runner:
    if settings.num_threads is not None:
        torch.set_num_threads(settings.num_threads)
    loaded = load_model(settings)
    limit = settings.max_context_tokens or loaded.max_context_tokens
    return Runner(loaded, loaded.new_key_values(settings, limit))
