"""The directory: which model actors there are and how loaded, and where each session is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from actors.calls.scope import Scope
from actors.calls.started import Started
from actors.directory.adapters import AdapterTable
from actors.directory.inferlets import InferletTable
from actors.directory.messages import Demand, InferletSeed, SessionSeed
from actors.directory.models import ModelTable
from actors.directory.registry import Registry
from actors.journal.contract import Journal, StreamInfo
from actors.journal.keys import INFERLET, PROMPT_KEY, SESSION, parse_journal_key
from actors.models.messages import LoadedAdapters, StartReport
from actors.models.ref import ModelRef, ModelReport, Placement
from actors.pool.pool import SlotPool
from actors.pool.ref import Location
from actors.settings import ClusterSettings, ModelSettings
from api.cluster import AdapterInfo, ModelInfo, SessionOptions, SessionSummary
from api.errors import InvalidRequest, ModelLost, SessionNotFound, UnknownAdapter
from api.inferlets import InferletSummary, State
from api.logs import event_logger

log = event_logger("greenroom.directory")


def check_shards(running: int, wanted: int) -> None:
    """Whether the broker of a Greenroom that runs can have so many: inferlets hold references to those that there are.

    Raises:
        InvalidRequest: it has another number.
    """
    if running != wanted:
        raise InvalidRequest(
            f"broker.num_shards is {running} in the Greenroom that runs, and cannot become {wanted} meanwhile: "
            "run `greenroom down` first"
        )


class DirectoryMetrics(Protocol):
    """What the directory counts."""

    def activated(self, reason: str) -> None:
        """A session was put on an actor: "opened", "forked", "passive" or "lost"."""
        ...

    def sessions(self, num_active: int, num_total: int) -> None:
        """How many sessions there are."""
        ...

    def inferlets(self, counts: Mapping[State, int]) -> None:
        """How many inferlets there are, by state; those of agents' threads among them."""
        ...

    def serves(self, model: str) -> None:
        """There is a model of this name."""
        ...

    def woken(self, model: str, waited_s: float | None) -> None:
        """A model that was not in memory has started for who waited, or has not (None)."""
        ...


class Directory:
    """Finds things. Everything in it can be made again from the journal, the reports and the live actors.

    ``DirectoryRef`` says what its calls do. Belongs to one event loop. Per session, one activation at a time. ``scope``
    has its tasks, and those of its pools.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        journal: Journal,
        pools: Mapping[str, SlotPool],
        metrics: DirectoryMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._models = ModelTable(settings, metrics.woken)
        self._adapters = AdapterTable(journal, self._models)
        self._sessions = Registry(
            SESSION,
            journal,
            pools[SESSION],
            settings.sessions,
            SessionNotFound,
            metrics.activated,
            self._session_removed,
        )
        self.scope = Scope()
        for pool in pools.values():
            self.scope.adopt(pool.scope)
        self._inferlets = InferletTable(settings.inferlets, journal, pools[INFERLET], metrics, self._models, self.scope)
        self._started = Started(self._start)
        self._count_models()

    async def start(self) -> None:
        """Find what there is; every call waits for it. Idempotent."""
        await self._started()

    def applicable(self, settings: ClusterSettings) -> ClusterSettings:
        """These settings with the journal that is there, which cannot become another while a Greenroom runs.

        Raises:
            InvalidRequest: the number of the broker's shards is another.
        """
        check_shards(self._settings.broker.num_shards, settings.broker.num_shards)
        return replace(settings, journal=self._settings.journal)

    async def configure(self, settings: ClusterSettings) -> None:
        await self.start()
        applicable = self.applicable(settings)
        if settings.journal != applicable.journal:
            log.info("the journal stays", place=applicable.journal.place, other=settings.journal.place)
        self._settings = applicable
        self._models.configure(applicable)
        self._count_models()
        self._sessions.configure(applicable.sessions)
        self._inferlets.configure(applicable.inferlets)

    async def settings(self) -> ClusterSettings:
        return self._settings

    async def report(self, report: ModelReport) -> LoadedAdapters | None:
        self._models.report(report)
        return self._adapters.missed(report)

    async def report_start(self, report: StartReport) -> None:
        self._models.report_start(report)

    async def settings_of(self, model: ModelRef) -> ModelSettings | None:
        return self._models.settings_of(model)

    async def starts(self) -> tuple[StartReport, ...]:
        return self._models.starts()

    async def models(self) -> tuple[ModelInfo, ...]:
        return self._models.infos()

    async def reports(self) -> tuple[ModelReport, ...]:
        return self._models.reports()

    async def loaded_adapters(self, model: str) -> LoadedAdapters:
        await self.start()
        return self._adapters.of(model)

    async def adapters(self, model: str | None) -> tuple[AdapterInfo, ...]:
        await self.start()
        return self._adapters.infos(self._models.find(model))

    async def load_adapter(self, model: str | None, name: str, path: str) -> None:
        await self.start()
        await self._adapters.load(self._models.find(model), name, path)

    async def unload_adapter(self, model: str | None, name: str) -> bool:
        await self.start()
        return await self._adapters.unload(self._models.find(model), name)

    async def place(
        self, model: str | None, key: str, lost: str | None = None, marks: Sequence[bytes] = ()
    ) -> Placement:
        return await self._models.place(model, key, lost, marks)

    async def demand(self, model: str, is_there: bool, wait_s: float) -> Demand:
        return await self._models.demand(model, is_there, wait_s)

    async def start_failed(self, model: str, reason: str) -> None:
        self._models.start_failed(model, reason)

    async def open(self, session_id: str, owner: str, options: SessionOptions) -> Location:
        await self.start()
        if options.max_context is not None and options.max_context < 1:
            raise InvalidRequest("max_context must be >= 1")
        placement = None
        model = self._models.told(options.model)  # a passive one need not be there before the first turn
        if model is None:
            placement = await self._models.place(options.model, session_id)
        found = placement or model
        assert found is not None
        limit = found.max_context_tokens
        if options.adapter is not None and options.adapter not in found.adapters:
            self._models.unsettle(session_id)
            raise UnknownAdapter.among(found.adapters, options.adapter)
        idle_timeout_s = options.idle_timeout_s or self._settings.sessions.idle_timeout_s
        return await self.adopt(
            SessionSeed(
                session_id,
                owner,
                found.name,
                options.retention,
                min(options.max_context or limit, limit),
                idle_timeout_s,
                placement=placement,
                adapter=options.adapter,
                title=options.title,
            )
        )

    async def adopt(self, seed: SessionSeed) -> Location:
        await self.start()
        if seed.placement:
            self._models.settle(seed.session_id, seed.placement.incarnation)
        reason = "forked" if seed.records else "opened"
        return await self._sessions.adopt(seed.session_id, seed.owner, seed, reason)

    async def locate(self, session_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        await self.start()
        return await self._sessions.locate(session_id, dead, owner)

    async def active(self, session_id: str, wait_s: float) -> Location | None:
        await self.start()
        return await self._sessions.active(session_id, wait_s)

    async def launch(self, seed: InferletSeed) -> Location:
        await self.start()
        return await self._inferlets.launch(seed)

    async def locate_inferlet(self, instance_id: str, dead: str | None = None, owner: str | None = None) -> Location:
        await self.start()
        return await self._inferlets.locate(instance_id, dead, owner)

    async def inferlet_ended(self, instance_id: str, how: str) -> None:
        await self.start()
        await self._inferlets.ended(instance_id, how)

    async def inferlets(self, owner: str | None) -> tuple[InferletSummary, ...]:
        await self.start()
        return await self._inferlets.summaries(await self._streams(INFERLET, owner))

    async def released(self, kind: str, tenant_id: str, slot: str, wakes_at: float | None = None) -> None:
        await self.start()
        if kind == INFERLET:
            await self._inferlets.passivated(tenant_id, slot, wakes_at)
        else:
            await self._sessions.released(tenant_id, slot)

    async def forget(self, kind: str, tenant_id: str) -> None:
        await self.start()
        await (self._inferlets if kind == INFERLET else self._sessions).forget(tenant_id)

    async def sessions(self, owner: str | None) -> tuple[SessionSummary, ...]:
        await self.start()
        entries = self._sessions.entries
        return tuple(
            SessionSummary(
                session_id,
                stream.owner,
                stream.model,
                "active" if (entry := entries.get(session_id)) and entry.slot else "passive",
                stream.created_at,
                stream.last_used_at,
                stream.title,
            )
            for session_id, stream in (await self._streams(SESSION, owner)).items()
            if stream.is_listed or owner is None
        )

    async def give(self, session_id: str, owner: str) -> None:
        await self.start()
        await self._sessions.give(session_id, owner)

    async def purge(self) -> int:
        await self.start()
        session_ids = list(self._sessions.entries)
        for session_id in session_ids:
            await self.close(session_id)
        return len(session_ids)

    async def close(self, session_id: str) -> None:
        await self.start()
        await self._sessions.close(session_id)

    async def close_inferlet(self, instance_id: str) -> None:
        await self.start()
        await self._inferlets.close(instance_id)

    async def _start(self) -> None:
        await self._adapters.recover()
        await self._sessions.recover(await self._streams(SESSION))
        await self._inferlets.recover(await self._streams(INFERLET))
        self.scope.start(self._sweep())
        log.info(
            "directory ready",
            sessions=len(self._sessions.entries),
            active=self._sessions.num_active,
            inferlets=len(self._inferlets.entries),
        )

    async def _streams(self, kind: str, owner: str | None = None) -> dict[str, StreamInfo]:
        """The journal's streams of one kind by id, the latest used first."""
        named = [(parse_journal_key(stream.key), stream) for stream in await self._journal.streams(owner)]
        return {tenant_id: stream for (found, tenant_id), stream in named if found == kind}

    def _count_models(self) -> None:
        for model in self._settings.models:
            self._metrics.serves(model.name)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_interval_s)
            self._models.forget_silent()
            self._metrics.sessions(self._sessions.num_active, len(self._sessions.entries))
            self._metrics.inferlets(self._inferlets.counts)
            try:
                for key in await self._journal.expired(self._clock()):
                    kind, tenant_id = parse_journal_key(key)
                    if kind == PROMPT_KEY:
                        await self._journal.delete(key)
                        continue
                    await (self._inferlets if kind == INFERLET else self._sessions).expire(tenant_id)
            except Exception:
                log.exception("sweep failed")

    async def _session_removed(self, session_id: str, is_orphaned: bool) -> None:
        model = self._models.settled(session_id)
        self._models.unsettle(session_id)
        if model and is_orphaned:
            with suppress(ModelLost):
                await model.close(session_id)
