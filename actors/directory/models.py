"""The model actors that report, and which of them a context goes to."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from actors.directory.marks import Marks
from actors.directory.messages import Demand
from actors.directory.wakes import Wakes
from actors.models.messages import StartReport
from actors.models.ref import ModelRef, ModelReport, Placement
from actors.settings import ClusterSettings, ModelSettings
from api.cluster import ModelInfo
from api.errors import ModelNotFound, Unavailable


class ModelTable:
    """Places contexts: one stays where it is while its actor is alive, a new one goes to the least loaded.

    Load is turns running and waiting, then KV in use; placements since the last report count as turns. A prompt goes
    where one that begins in the same way went, unless that actor has ``MAX_MORE_TURNS`` more turns than another.

    Args:
        woken: see ``Wakes``.
    """

    MAX_MORE_TURNS = 8
    MAX_REMEMBERED = 1024
    """Actors whose settings are remembered for a restart."""
    MAX_RETIRED = 1024
    """The latest ones are remembered."""
    GRACE_S = 5.0
    """A pool says why its actor is not there in time; those who wait leave it so long for that."""

    def __init__(
        self, settings: ClusterSettings, woken: Callable[[str, float | None], object] = lambda model, waited_s: None
    ) -> None:
        self._settings = settings
        self._reports: dict[str, ModelReport] = {}
        self._told: dict[str, ModelReport] = {}
        self._settings_of: OrderedDict[ModelRef, ModelSettings] = OrderedDict()
        self._heard_at: dict[str, float] = {}
        self._placed: dict[str, int] = {}
        self._starts: dict[str, tuple[float, StartReport]] = {}
        self._settled: dict[str, str] = {}
        self._marks = Marks()
        self._changed = asyncio.Event()
        self._retired: deque[str] = deque(maxlen=self.MAX_RETIRED)
        self._wakes = Wakes(woken)

    def configure(self, settings: ClusterSettings) -> None:
        """Take new settings."""
        self._settings = settings
        self._changed.set()

    def report(self, report: ModelReport) -> None:
        """Take note; a report of another incarnation of the same actor replaces it."""
        for incarnation, other in list(self._reports.items()):
            if other.model == report.model and incarnation != report.incarnation:
                self._drop(incarnation)
        self._starts.pop(report.incarnation, None)
        self._reports[report.incarnation] = report
        self._told[report.name] = report
        self._settings_of[report.model] = report.settings
        self._settings_of.move_to_end(report.model)
        if len(self._settings_of) > self.MAX_REMEMBERED:
            self._settings_of.popitem(last=False)
        self._heard_at[report.incarnation] = time.monotonic()
        self._placed[report.incarnation] = 0
        if not report.is_draining:
            self._wakes.started(report.name)
        elif report.incarnation not in self._retired:
            self._retired.append(report.incarnation)
        self._changed.set()

    def report_start(self, report: StartReport) -> None:
        """Take note of an actor that starts, until it has started or says no more."""
        if report.incarnation not in self._reports:
            self._starts[report.incarnation] = time.monotonic(), report

    def settings_of(self, model: ModelRef) -> ModelSettings | None:
        """What this actor ran with when it last reported."""
        return self._settings_of.get(model)

    def starts(self) -> tuple[StartReport, ...]:
        """Those that start, by recent reports."""
        since = time.monotonic() - self._settings.model_timeout_s
        self._starts = {key: start for key, start in self._starts.items() if start[0] >= since}
        return tuple(report for _, report in self._starts.values())

    def reports(self) -> tuple[ModelReport, ...]:
        """Those with a recent report."""
        now = time.monotonic()
        return tuple(
            report
            for incarnation, report in self._reports.items()
            if now - self._heard_at[incarnation] <= self._settings.model_timeout_s
        )

    def infos(self) -> tuple[ModelInfo, ...]:
        """The configured models in their order, as an actor has last told; what none has told yet is 0 or None."""
        return tuple(self._info(model) for model in self._settings.models)

    async def place(
        self, model: str | None, key: str, lost: str | None = None, marks: Sequence[bytes] = ()
    ) -> Placement:
        """See ``DirectoryRef.place``; waits for as long as recovery may take, or a model's start."""
        settings = self.find(model)
        if lost:
            self._drop(lost)
        report = self._choose(settings.name, key, marks) or await self._wait_for(settings, key, marks)
        self._placed[report.incarnation] += 1
        if key:
            self._settled[key] = report.incarnation
        self._marks.put(marks, report.incarnation)
        info, incarnation = report.info, report.incarnation
        return Placement(
            report.name, incarnation, report.model, info.max_context_tokens, info.adapters, lost in self._retired
        )

    async def demand(self, model: str, is_there: bool, wait_s: float) -> Demand:
        """See ``DirectoryRef.demand``."""
        deadline = time.monotonic() + wait_s
        while True:
            demand = self._demand(model, is_there)
            left_s = deadline - time.monotonic()
            if demand.is_there != is_there or left_s <= 0:
                return demand
            with suppress(TimeoutError):
                await self._change(left_s)

    def start_failed(self, model: str, reason: str) -> None:
        """See ``DirectoryRef.start_failed``."""
        self._wakes.failed(model, reason)
        self._changed.set()

    def told(self, model: str | None) -> ModelInfo | None:
        """What a passive model is, where that is known; None for others."""
        info = self._info(self.find(model))
        return info if info.is_passive and info.max_context_tokens else None

    def settle(self, key: str, incarnation: str) -> None:
        """The context is there already."""
        self._settled[key] = incarnation

    def settled(self, key: str) -> ModelRef | None:
        """The actor that a context was last placed on, if it still reports."""
        report = self._reports.get(self._settled.get(key, ""))
        return report.model if report else None

    def settled_keys(self, prefix: str) -> list[str]:
        """The contexts that were placed and whose keys begin so."""
        return [key for key in self._settled if key.startswith(prefix)]

    def unsettle(self, key: str) -> None:
        """The context is gone."""
        self._settled.pop(key, None)

    def find(self, model: str | None) -> ModelSettings:
        """The configured model of this name or alias, the default one for None.

        Raises:
            ModelNotFound: there is none.
            Unavailable: none is configured.
        """
        if not self._settings.models:
            raise Unavailable("no model is configured")
        if model is None:
            return self._settings.models[0]
        for settings in self._settings.models:
            if model == settings.name or model in self._aliases(settings):
                return settings
        raise ModelNotFound(model)

    def forget_silent(self) -> None:
        """Forget actors that have not reported for long."""
        live = {report.incarnation for report in self.reports()}
        for incarnation in set(self._reports) - live:
            self._drop(incarnation)

    async def _wait_for(self, settings: ModelSettings, key: str, marks: Sequence[bytes]) -> ModelReport:
        """The actor that comes first."""
        wait_s = self._settings.recovery_timeout_s
        if settings.passivate_after_s is not None:
            wait_s = settings.start_timeout_s + self.GRACE_S
        deadline = time.monotonic() + wait_s
        with self._wakes.waiting(settings.name) as wake:
            if wake.num_waiting == 1:
                self._changed.set()
            while (report := self._choose(settings.name, key, marks)) is None:
                try:
                    await self._change(deadline - time.monotonic())
                except TimeoutError:
                    raise Unavailable(f"no actor of model {settings.name!r} can answer now") from None
                wake.check()
            return report

    async def _change(self, timeout_s: float) -> None:
        """Wait for the next one, of which none is missed from this call on.

        Raises:
            TimeoutError: there was none.
        """
        self._changed.clear()
        async with asyncio.timeout(timeout_s):
            await self._changed.wait()

    def _demand(self, model: str, is_there: bool) -> Demand:
        settings = next((settings for settings in self._settings.models if settings.name == model), None)
        if settings is None:
            return Demand(is_there)
        limit_s = settings.passivate_after_s
        if limit_s is None or self._wakes.is_wanted(model):
            return Demand(True)
        idle_s = min((found.idle_s for found in self._answering(model)), default=None)
        return Demand(is_there if idle_s is None else idle_s < limit_s, limit_s)

    def _answering(self, name: str) -> list[ModelReport]:
        return [report for report in self.reports() if report.name == name and not report.is_draining]

    def _choose(self, name: str, key: str, marks: Sequence[bytes]) -> ModelReport | None:
        reports = self._answering(name)
        for report in reports:
            if key and report.incarnation == self._settled.get(key):
                return report
        least = min(reports, key=self._load, default=None)
        warm = self._marks.place(marks)
        for report in reports:
            if least and report.incarnation == warm:
                is_idle_enough = self._load(report)[0] <= self._load(least)[0] + self.MAX_MORE_TURNS
                return report if is_idle_enough else least
        return least

    def _load(self, report: ModelReport) -> tuple[float, float]:
        capacity = report.capacity
        turns = capacity.num_running + capacity.num_waiting + self._placed[report.incarnation]
        return turns, 1 - capacity.num_free_blocks / max(1, capacity.num_blocks)

    def _drop(self, incarnation: str) -> None:
        for table in (self._reports, self._heard_at, self._placed):
            table.pop(incarnation, None)

    def _aliases(self, model: ModelSettings) -> tuple[str, ...]:
        """As an actor of it has last told: its pool may give it others than this table was configured with.

        One that has left memory was not told of those that have come since.
        """
        if model.name not in self._told:
            return model.aliases
        told = self._told[model.name].settings.aliases
        is_away = model.passivate_after_s is not None and not self._answering(model.name)
        return tuple(dict.fromkeys((*model.aliases, *told))) if is_away else told

    def _info(self, model: ModelSettings) -> ModelInfo:
        num_ready, problem = len(self._answering(model.name)), self._wakes.problem(model.name)
        is_passive = model.passivate_after_s is not None and not num_ready and not problem
        if model.name not in self._told:
            info = ModelInfo(model.name, self._aliases(model), model.engine, 0, 0, None, (), False, num_ready)
            return replace(info, is_passive=is_passive, problem=problem)
        told = self._told[model.name]
        return ModelInfo(
            model.name,
            self._aliases(model),
            told.info.engine,
            told.info.max_context_tokens,
            told.info.vocab_size,
            told.bos_id,
            told.info.eos_ids,
            told.has_chat_template,
            num_ready,
            told.bos_text,
            told.info.adapters,
            told.sampling,
            told.answers,
            is_passive,
            problem,
        )
