"""The adapters that operators have loaded since their models were started: kept in the journal, until unloaded."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable

from actors.directory.models import ModelTable
from actors.journal.contract import Journal
from actors.journal.formats import to_line
from actors.models.messages import LoadedAdapter, LoadedAdapters
from actors.models.ref import ModelReport
from actors.settings import ModelSettings
from api.cluster import AdapterInfo
from api.errors import GreenroomError, InvalidRequest, ModelLost, NameTaken, Unavailable
from api.logs import event_logger

log = event_logger("greenroom.directory")

SPACE = "model-adapters"
"""The journal's items that have the adapters of a model, by its name."""

MAX_ADAPTERS = 256
"""Of one model."""


class AdapterTable:
    """The loaded adapters of each model. Belongs to one event loop; for each model, one change at a time.

    A change is in the journal before it is told to the actors that report. One that cannot be told, or comes later,
    asks for it when it starts, or is told when it reports an earlier revision.
    """

    def __init__(self, journal: Journal, models: ModelTable) -> None:
        self._journal = journal
        self._models = models
        self._of: dict[str, LoadedAdapters] = {}
        self._changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def recover(self) -> None:
        """Read what the journal has."""
        for model in await self._journal.list_items(SPACE):
            if kept := await self._journal.get_item(SPACE, model):
                self._of[model] = _decode(kept)

    def of(self, model: str) -> LoadedAdapters:
        """Those of a model."""
        return self._of.get(model, LoadedAdapters())

    def missed(self, report: ModelReport) -> LoadedAdapters | None:
        """Those of an actor's model, where it has earlier ones."""
        adapters = self.of(report.name)
        return adapters if report.adapters_revision < adapters.revision else None

    def infos(self, model: ModelSettings) -> tuple[AdapterInfo, ...]:
        """Those of its settings, then those that were loaded."""
        loaded = [adapter for adapter in self.of(model.name).adapters if adapter.name not in model.adapters]
        paths = {**model.adapters, **{adapter.name: adapter.path for adapter in loaded}}
        reports = self._reports(model.name)
        return tuple(
            AdapterInfo(name, path, name in model.adapters, sum(name in report.info.adapters for report in reports))
            for name, path in paths.items()
        )

    async def load(self, model: ModelSettings, name: str, path: str) -> None:
        """See ``DirectoryRef.load_adapter``."""
        async with self._changing[model.name]:
            if name in model.adapters:
                raise NameTaken(f"the configuration has an adapter {name!r} for this model")
            adapter = LoadedAdapter(name, path, await self._digest(model.name, name, path))
            before = self.of(model.name).adapters
            others = [one for one in before if one.name != name]
            if len(others) < len(before) and adapter not in before:
                raise NameTaken(f"another adapter is loaded as {name!r}: unload it first")
            if len(others) >= MAX_ADAPTERS:
                raise InvalidRequest(f"a model may have {MAX_ADAPTERS} loaded adapters: unload some first")
            if failure := await self._change(model.name, [*others, adapter], name):
                await self._change(model.name, before)
                raise failure

    async def unload(self, model: ModelSettings, name: str) -> bool:
        """See ``DirectoryRef.unload_adapter``."""
        async with self._changing[model.name]:
            before = self.of(model.name).adapters
            others = [one for one in before if one.name != name]
            if len(others) == len(before):
                if name in model.adapters:
                    raise InvalidRequest(f"adapter {name!r} is of the configuration: it goes with a deploy without it")
                return False
            await self._change(model.name, others)
            return True

    async def _digest(self, model: str, name: str, path: str) -> str:
        placement = await self._models.place(model, "")
        try:
            return await placement.model.digest_adapter(name, path)
        except ModelLost:
            raise Unavailable(f"the actor of model {model!r} that was to look at the adapter has died") from None

    async def _change(self, model: str, adapters: Iterable[LoadedAdapter], name: str = "") -> InvalidRequest | None:
        """Have these from now on; why an actor cannot load the one of this name, if one cannot."""
        changed = LoadedAdapters(self.of(model).revision + 1, tuple(adapters))
        await self._journal.put_item(SPACE, model, _encode(changed))
        self._of[model] = changed
        log.info("adapters", model=model, revision=changed.revision, names=[one.name for one in changed.adapters])
        telling = (self._tell(report, changed, name) for report in self._reports(model))
        failures = await asyncio.gather(*telling)
        return next((failure for failure in failures if failure), None)

    async def _tell(self, report: ModelReport, adapters: LoadedAdapters, name: str) -> InvalidRequest | None:
        try:
            return (await report.model.take_adapters(adapters)).get(name)
        except GreenroomError as error:  # it takes them when it starts again
            log.warning("a model actor has not taken its adapters", model=report.name, error=str(error))
            return None

    def _reports(self, model: str) -> list[ModelReport]:
        return [report for report in self._models.reports() if report.name == model]


def _encode(adapters: LoadedAdapters) -> bytes:
    kept = [{"name": one.name, "path": one.path, "digest": one.digest} for one in adapters.adapters]
    return to_line({"revision": adapters.revision, "adapters": kept})


def _decode(kept: bytes) -> LoadedAdapters:
    read = json.loads(kept.decode(errors="surrogatepass"))
    adapters = (LoadedAdapter(one["name"], one["path"], one["digest"]) for one in read["adapters"])
    return LoadedAdapters(read["revision"], tuple(adapters))
