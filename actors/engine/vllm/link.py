"""The connection to vLLM: requests and calls go out in order, deltas come back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from vllm import SamplingParams
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import PrometheusStatLogger

from actors.engine.adapter_files import AdapterFiles
from actors.engine.context import Context
from actors.engine.vllm.executor import executor_of
from actors.engine.vllm.settings import sentence_of
from actors.engine.vllm.stages import following
from api.errors import InvalidRequest

TURN, REFILL = 0, 1
"""Priorities of requests: a refill waits for every turn."""


class Link:
    """Belongs to one event loop.

    Args:
        config: vLLM's.
        adapters: those of the model.
    """

    STOP_TIMEOUT_S = 1.0

    def __init__(self, config: Any, adapters: Sequence[AdapterFiles]) -> None:
        self._config = config
        self._files = adapters
        self._num_adapters = 0
        self._take: Callable[[str, Any], object] = _nobody
        self._note: Callable[[Any], object] = _nobody
        self._calls: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._collectors: dict[str, Any] = {}
        self._adapters: dict[str, LoRARequest] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._sender: asyncio.Task[None] | None = None
        self._num_calls = 0
        self._llm: Any = None

    async def start(self, tell: Callable[[str], object]) -> None:
        """Start vLLM, in some ten seconds and without blocking the event loop, and see that it can compute.

        Args:
            tell: is given the stages, for people to read.

        Raises:
            InvalidRequest: one sentence on why vLLM cannot start, does not take an adapter, or computes no numbers.
        """
        tell("vLLM starts its process")
        async with following(self._config, tell) as stages:
            try:
                await self._start()
            except Exception as error:
                await self.stop()
                if isinstance(error, InvalidRequest):
                    raise
                stages.read()
                reason = stages.failure or sentence_of(error)
                raise InvalidRequest(f"vLLM cannot start with {self._config.model_config.model}: {reason}") from error
        self._sender = asyncio.create_task(self._send())

    def deliver(self, take: Callable[[str, Any], object], note: Callable[[Any], object]) -> None:
        """Say to whom what comes back is given; before the first request or call.

        Args:
            take: is given what came for a request: vLLM's ``RequestOutput``, or the error that ended it.
            note: is given vLLM's ``SchedulerStats`` after each step, before the step's outputs are taken.
        """
        self._take, self._note = take, note

    async def _start(self) -> None:
        loggers = [_notifier(lambda stats: self._note(stats))]
        executor = executor_of(self._config)
        self._llm = await asyncio.to_thread(
            AsyncLLM, self._config, executor, log_stats=False, log_requests=False, stat_loggers=loggers
        )
        parameters = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, detokenize=False, logprobs=0)
        async for output in self._llm.generate(tokens_input([0]), parameters, "first"):
            drawn = [entry for values in output.outputs[0].logprobs for entry in values.values()]
            if not all(math.isfinite(entry.logprob) for entry in drawn):
                path = self._config.model_config.model
                raise InvalidRequest(f"no model can be loaded from {path}: what it computes are not numbers")
        for files in self._files:
            await self.add_adapter(files)

    async def add_adapter(self, files: AdapterFiles) -> None:
        """Load one, between two steps. To vLLM, whose cache goes by its name, each has a name of its own.

        Raises:
            InvalidRequest: vLLM does not take it.
        """
        self._num_adapters += 1
        adapter = LoRARequest(f"{files.name}#{self._num_adapters}", self._num_adapters, str(files.path))
        try:
            await self._llm.add_lora(adapter)
        except EngineDeadError:
            raise
        except Exception as error:
            raise InvalidRequest(f"vLLM does not take adapter {files.name!r}: {sentence_of(error)}") from error
        self._adapters[files.name] = adapter

    def remove_adapter(self, name: str) -> None:
        """Forget one, after the requests with it have been aborted."""
        adapter = self._adapters.pop(name)
        self._calls.put_nowait(partial(self._remove_adapter, adapter))

    async def stop(self) -> None:
        """End vLLM. Idempotent."""
        tasks = [task for task in (self._sender, *self._readers.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._llm is not None:
            await asyncio.to_thread(self._llm.shutdown, self.STOP_TIMEOUT_S)
            self._llm = None

    def request(self, request_id: str, context: Context, tokens: Sequence[int], parameters: Any, priority: int) -> None:
        """Let vLLM run a request on tokens of a context; an id is used once.

        KV is shared among requests of one tenant and one adapter only.

        Args:
            parameters: vLLM's ``SamplingParams``.
        """
        prompt = tokens_input(list(tokens), cache_salt=context.tenant or None)
        adapter = None if context.adapter is None else self._adapters[context.adapter]
        self._calls.put_nowait(partial(self._add, request_id, prompt, parameters, priority, adapter))

    def abort(self, request_id: str) -> None:
        """End a request; nothing comes for it any more."""
        self._calls.put_nowait(partial(self._abort, request_id))

    def call(self, parameters: Mapping[str, Any]) -> None:
        """Tell ``Retention`` to do something."""
        self._num_calls += 1
        request_id = f"call-{self._num_calls}"
        self._calls.put_nowait(lambda: self._llm.notify_kv_transfer_request_rejected(request_id, dict(parameters)))

    async def _send(self) -> None:
        while True:
            await (await self._calls.get())()

    async def _add(self, request_id: str, prompt: Any, parameters: Any, priority: int, adapter: Any) -> None:
        try:
            collector = await self._llm.add_request(
                request_id, prompt, parameters, lora_request=adapter, priority=priority
            )
        except Exception as error:
            self._take(request_id, error)
            return
        self._collectors[request_id] = collector
        self._readers[request_id] = asyncio.create_task(self._read(request_id, collector))

    async def _read(self, request_id: str, collector: Any) -> None:
        try:
            is_finished = False
            while not is_finished:
                output = collector.get_nowait() or await collector.get()
                is_finished = output.finished
                self._take(request_id, output)
        except Exception as error:
            self._take(request_id, error)
        finally:
            self._collectors.pop(request_id, None)
            self._readers.pop(request_id, None)

    async def _remove_adapter(self, adapter: LoRARequest) -> None:
        with suppress(EngineDeadError):  # which every request is told
            await self._llm.remove_lora(adapter.lora_int_id)

    async def _abort(self, request_id: str) -> None:
        reader, collector = self._readers.get(request_id), self._collectors.get(request_id)
        if reader is None or collector is None:
            return
        reader.cancel()
        with suppress(asyncio.CancelledError):
            await reader
        await self._llm.abort(collector.request_id, internal=True)


def _nobody(*came: object) -> None:
    """Before there is an engine."""


def _notifier(note: Callable[[Any], object]) -> Any:
    """What vLLM makes its statistics logger from. It replaces the one for Prometheus, which costs each step time."""

    class Notifier(PrometheusStatLogger):  # type: ignore[misc]
        def __init__(self, vllm_config: Any, engine_indexes: list[int] | None = None) -> None:
            pass

        def record(self, scheduler_stats: Any, iteration_stats: Any, *others: Any, **more: Any) -> None:
            if scheduler_stats is not None:
                note(scheduler_stats)

        def log_engine_initialized(self) -> None:
            pass

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **options: None

    return Notifier
