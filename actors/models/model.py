"""The model actor: hosts one engine and hands out its turns' output."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from actors.calls.scope import Scope
from actors.engine.adapter_files import AdapterFiles
from actors.engine.checkpoints.hub import local_path
from actors.engine.contract import Engine, EngineInfo, Feature, OpenEngine, Residency
from actors.engine.generation_config import suggested_sampling
from actors.models.adapters import ModelAdapters
from actors.models.messages import AttachedTurn, LoadedAdapters, PollReply, StartReport, StartTurn, TurnOutput
from actors.models.metrics import ModelMetrics
from actors.models.ref import ModelRef, ModelReport
from actors.models.startup import Progress
from actors.models.turns import ModelTurns, TurnTokenizer
from actors.settings import ModelSettings
from api.errors import GreenroomError, InvalidRequest, ModelLost, Unsupported
from api.logs import event_logger
from api.tools import Tool
from api.turns import Part, Role, Sampling, TurnStart

log = event_logger("greenroom.model")


class PromptTokenizer(TurnTokenizer, Protocol):
    """What a model actor needs of a tokenizer."""

    bos_id: int | None
    has_chat_template: bool

    def encode(self, text: str) -> list[int]:
        """Ids of a text alone, without a beginning-of-text token."""
        ...

    def encode_parts(
        self,
        parts: Sequence[Part],
        last_id: int | None,
        after: Role | None,
        opens_answer: bool,
        tools: Sequence[Tool] = (),
    ) -> list[int]:
        """See ``ModelRef.encode``."""
        ...

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of ids."""
        ...

    def token_bytes(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        """See ``ModelRef.token_bytes``."""
        ...


class Directory(Protocol):
    """What a model actor needs of the directory."""

    async def report(self, report: ModelReport) -> LoadedAdapters | None:
        """Take note of a model actor; the adapters that it is to have, where it has missed a change."""
        ...

    async def loaded_adapters(self, model: str) -> LoadedAdapters:
        """The adapters that actors of a model are to have beside those of their settings."""
        ...

    async def report_start(self, report: StartReport) -> None:
        """Take note of a model actor that starts."""
        ...

    async def settings_of(self, model: ModelRef) -> ModelSettings | None:
        """The settings that a model actor ran with when it last reported; None where it never has."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a model actor has once it has loaded its model; ``sampling`` is what the checkpoint suggests."""

    engine: Engine
    tokenizer: PromptTokenizer
    sampling: Sampling
    turns: ModelTurns
    adapters: ModelAdapters


class Model:
    """Hosts one engine: turns with an output log each, contexts, load reports. Belongs to one event loop.

    ``ModelRef`` says what its calls do.

    Life: made, ``start``ed (loads the model), running, perhaps draining, ended with its process. An engine that
    fails takes the process with it, and Ray starts another, with an empty cache: contexts are refilled by their owners.
    Ray makes that one with the settings of the first; it takes those that the first had last from the directory.
    """

    def __init__(
        self,
        settings: ModelSettings,
        build: Callable[[ModelSettings], tuple[OpenEngine, PromptTokenizer]],
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
        self._starting: asyncio.Task[Loaded] | None = None
        self._loaded: Loaded | None = None
        self._used_at = time.monotonic()
        self._problem = ""
        self.scope = Scope()

    async def start(self) -> EngineInfo:
        """Load the model and begin to serve; again: wait for that.

        Raises:
            InvalidRequest: one sentence on what is wrong with the model directory or the settings.
        """
        return (await self._ready()).engine.info

    async def start_turn(self, message: StartTurn) -> TurnStart:
        loaded = await self._use()
        if message.request.embedding and not self._settings.embeddings:
            name = self._settings.name
            raise Unsupported(f"model {name!r} is not configured for embeddings (embeddings: true in cluster.yaml)")
        _require_features(loaded.engine.info, message)
        if message.adapter not in (None, *loaded.engine.info.adapters):
            await self._catch_up(loaded.adapters)  # it may have been loaded while this actor started
        return await loaded.turns.start(message)

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        return await self._turns.poll(reader_id, cursors, wait_s)

    async def output(self, key: str, wait_s: float) -> TurnOutput:
        return await self._turns.output(key, wait_s)

    async def attach(self, key: str) -> AttachedTurn:
        return self._turns.attach(key)

    async def cancel(self, key: str) -> None:
        self._turns.cancel(key)

    async def acquit(self, key: str) -> None:
        await self._turns.acquit(key)

    async def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> None:
        (await self._use()).engine.fork(source_id, target_id, length, prefix_hash)

    async def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        loaded = await self._use()
        loaded.engine.info.require("mask")
        loaded.engine.mask(context_id, start, end, length, prefix_hash)

    async def drop(self, context_id: str) -> None:
        (await self._ready()).engine.drop(context_id)

    async def refill(self, context_id: str) -> None:
        (await self._ready()).engine.refill(context_id)

    async def close(self, context_id: str) -> None:
        (await self._ready()).engine.close(context_id)

    async def residency(self, context_id: str) -> Residency | None:
        return (await self._ready()).engine.residency(context_id)

    async def digest_adapter(self, name: str, path: str) -> str:
        return await asyncio.to_thread(lambda: AdapterFiles.read(name, Path(path)).digest())

    async def take_adapters(self, adapters: LoadedAdapters) -> Mapping[str, InvalidRequest]:
        loaded = await self._ready()
        failures = await loaded.adapters.take(adapters)
        await self._report(loaded)
        return failures

    async def tokenize(self, text: str) -> tuple[int, ...]:
        return tuple((await self._use()).tokenizer.encode(text))

    async def encode(
        self,
        parts: Sequence[Part],
        last_id: int | None,
        after: Role | None,
        opens_answer: bool,
        tools: Sequence[Tool] = (),
    ) -> tuple[int, ...]:
        return tuple((await self._use()).tokenizer.encode_parts(parts, last_id, after, opens_answer, tools))

    async def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        return (await self._use()).tokenizer.decode(ids, skip_special_tokens)

    async def token_bytes(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        return (await self._use()).tokenizer.token_bytes(ids)

    async def reconfigure(self, settings: ModelSettings) -> None:
        """Run with other settings from now on; turns that run go on.

        Raises:
            InvalidRequest: among those that differ is one of ``ModelSettings.FIXED``, or an adapter cannot be loaded;
                nothing has changed.
        """
        loaded = await self._ready()
        if fixed := [name for name in self._settings.differences(settings) if name in settings.FIXED]:
            raise InvalidRequest(f"model {self._settings.name!r} must be started anew for another {', '.join(fixed)}")
        await loaded.adapters.configure(settings.adapters)
        self._settings = settings
        loaded.engine.limit_owners(settings.owner_share)
        loaded.turns.configure(settings)
        await self.tell_problem("")

    async def tell_problem(self, problem: str) -> None:
        """Have reports say from now on why settings that came were not taken, until others are."""
        self._problem = problem
        await self._report(await self._ready())

    async def drain(self, timeout_s: float) -> None:
        """Take no new turns, and return when the running ones have ended, or after ``timeout_s``."""
        if self._loaded is None:
            return
        self._loaded.turns.refuse_new()
        await self._report(self._loaded)
        try:
            await asyncio.wait_for(self._loaded.turns.wait_ended(), timeout_s)
        except TimeoutError:
            log.warning("draining took too long", timeout_s=timeout_s)

    async def retire(self, idle_s: float) -> bool:
        """Whether nobody has used it for so long, nor does now. Then it takes no new turns, and may be ended."""
        if self._loaded is None or self._idle_s(self._loaded) < idle_s:
            return False
        self._loaded.turns.refuse_new()
        await self._report(self._loaded)
        return True

    async def health(self) -> ModelReport:
        """The state of this actor, once it has loaded.

        Raises:
            InvalidRequest: it cannot load.
        """
        return self._report_of(await self._ready())

    @property
    def _turns(self) -> ModelTurns:
        """Those of this process.

        Raises:
            ModelLost: it has not loaded yet: what is asked for was begun by an earlier one.
        """
        if self._loaded is None:
            raise ModelLost("the model actor has just been started")
        return self._loaded.turns

    async def _use(self) -> Loaded:
        """What it has loaded, for a caller that counts as its user."""
        loaded = await self._ready()
        self._used_at = time.monotonic()
        return loaded

    def _idle_s(self, loaded: Loaded) -> float:
        if loaded.turns.are_running:
            self._used_at = time.monotonic()
        return time.monotonic() - self._used_at

    async def _ready(self) -> Loaded:
        if self._starting is None:
            self._starting = self.scope.start(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Loaded:
        started_at = time.monotonic()
        self._settings = await self._last_settings()
        log.info("loading", model=self._settings.name, path=self._settings.path)
        interval_s = self._settings.report_interval_s
        async with Progress(self._settings.name, self._incarnation, self._directory, interval_s) as progress:
            path = await asyncio.to_thread(local_path, self._settings.path, progress.reached)
            settings = replace(self._settings, path=str(path))
            open_engine, tokenizer = await asyncio.to_thread(self._build, settings)
            sampling = await asyncio.to_thread(suggested_sampling, path)
            engine = await open_engine(progress.reached)
        turns = ModelTurns(self._settings, engine, tokenizer, engine.info.max_context_tokens, self._metrics)
        adapters = ModelAdapters(engine, self._settings.adapters)
        await self._catch_up(adapters)
        self._used_at = time.monotonic()
        self._loaded = loaded = Loaded(engine, tokenizer, sampling, turns, adapters)
        loops = self._run(loaded), turns.sweep(), self._keep_reporting(loaded)
        for loop in loops:
            self.scope.start(loop)
        log.info("ready", model=self._settings.name, seconds=round(time.monotonic() - started_at, 2))
        return loaded

    async def _last_settings(self) -> ModelSettings:
        try:
            told = await self._directory.settings_of(self._own_ref()) if self._directory else None
        except GreenroomError as error:
            log.warning("the directory does not say which settings are the latest", error=str(error))
            told = None
        return told or self._settings

    async def _catch_up(self, adapters: ModelAdapters, missed: LoadedAdapters | None = None) -> None:
        """Have the adapters that the directory names; those that cannot be loaded are left out."""
        try:
            if missed is None and self._directory:
                missed = await self._directory.loaded_adapters(self._settings.name)
            if missed is not None:
                await adapters.take(missed)
        except GreenroomError as error:
            log.warning("the model might lack adapters", model=self._settings.name, error=str(error))

    async def _run(self, loaded: Loaded) -> None:
        try:
            while True:
                loaded.turns.take(await loaded.engine.step())
                await asyncio.sleep(0)
        except Exception:
            log.exception("the engine failed; this process ends", model=self._settings.name)
            self._die()

    async def _keep_reporting(self, loaded: Loaded) -> None:
        while True:
            await self._report(loaded)
            await asyncio.sleep(self._settings.report_interval_s)

    async def _report(self, loaded: Loaded) -> None:
        report = self._report_of(loaded)
        if self._metrics:
            self._metrics.capacity(report.capacity)
        if self._directory:
            try:
                if missed := await self._directory.report(report):
                    self.scope.start(self._catch_up(loaded.adapters, missed))
            except GreenroomError as error:
                log.warning("the directory does not take reports", error=str(error))

    def _report_of(self, loaded: Loaded) -> ModelReport:
        tokenizer, bos_id = loaded.tokenizer, loaded.tokenizer.bos_id
        return ModelReport(
            name=self._settings.name,
            incarnation=self._incarnation,
            model=self._own_ref(),
            settings=self._settings,
            info=loaded.engine.info,
            capacity=loaded.engine.capacity(),
            bos_id=bos_id,
            bos_text="" if bos_id is None else tokenizer.decode([bos_id], skip_special_tokens=False),
            has_chat_template=tokenizer.has_chat_template,
            answers=tokenizer.answers,
            is_draining=loaded.turns.is_draining,
            sampling=loaded.sampling,
            adapters_revision=loaded.adapters.revision,
            idle_s=self._idle_s(loaded),
            problem=self._problem,
        )


def _require_features(info: EngineInfo, message: StartTurn) -> None:
    request = message.request
    wanted: dict[Feature, object] = {
        "allowed_tokens": request.allowed_tokens,
        "constraint": request.constraint or request.tools or None,
        "distribution": request.distribution,
        "embedding": request.embedding or None,
        "mask": message.holes or None,
    }
    for feature, value in wanted.items():
        if value is not None:
            info.require(feature)
