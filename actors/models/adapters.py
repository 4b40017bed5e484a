"""The adapters of a model actor, kept what its settings and the directory say, while turns run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from actors.engine.adapter_files import AdapterFiles
from actors.engine.contract import Engine
from actors.models.messages import LoadedAdapter, LoadedAdapters
from api.errors import InvalidRequest
from api.logs import event_logger

log = event_logger("greenroom.model")


class ModelAdapters:
    """Loads and unloads an engine's adapters. Belongs to one event loop.

    There are those of the settings, and those that were loaded since, which the directory knows; of one name the first.

    Attributes:
        revision: of the directory's, that was taken last.
    """

    def __init__(self, engine: Engine, configured: Mapping[str, str]) -> None:
        """Take an engine that has loaded the adapters of the settings."""
        self.revision = 0
        self._engine = engine
        self._configured = _of_settings(configured)
        self._loaded: dict[str, LoadedAdapter] = {}
        self._there = dict(self._configured)
        self._lock = asyncio.Lock()

    async def configure(self, configured: Mapping[str, str]) -> None:
        """Have those of other settings.

        Raises:
            InvalidRequest: one cannot be loaded; those of the settings before are there again.
        """
        async with self._lock:
            before, self._configured = self._configured, _of_settings(configured)
            failures = await self._apply()
            refused = [failure for name, failure in failures.items() if name in self._configured]
            if refused:
                self._configured = before
                await self._apply()
                raise refused[0]

    async def take(self, adapters: LoadedAdapters) -> dict[str, InvalidRequest]:
        """Have those that the directory names; why some cannot be loaded, by their names.

        What is not later than what was taken before changes nothing.
        """
        async with self._lock:
            if adapters.revision <= self.revision:
                return {}
            self.revision = adapters.revision
            self._loaded = {adapter.name: adapter for adapter in adapters.adapters}
            return await self._apply()

    async def _apply(self) -> dict[str, InvalidRequest]:
        """Unload what is not wanted, load what is missing; why some could not be, by their names."""
        wanted = self._configured | self._loaded | self._configured  # in this order, the first of a name
        for name in [name for name, adapter in self._there.items() if wanted.get(name) != adapter]:
            self._engine.unload_adapter(name)
            del self._there[name]
            log.info("adapter unloaded", adapter=name)
        failures: dict[str, InvalidRequest] = {}
        for name in [name for name in wanted if name not in self._there]:
            try:
                await self._engine.load_adapter(await asyncio.to_thread(_read, wanted[name]))
            except InvalidRequest as error:
                log.warning("adapter not loaded", adapter=name, error=str(error))
                failures[name] = error
            else:
                self._there[name] = wanted[name]
                log.info("adapter loaded", adapter=name)
        return failures


def _of_settings(configured: Mapping[str, str]) -> dict[str, LoadedAdapter]:
    return {name: LoadedAdapter(name, path) for name, path in configured.items()}


def _read(adapter: LoadedAdapter) -> AdapterFiles:
    files = AdapterFiles.read(adapter.name, Path(adapter.path))
    if adapter.digest and files.digest() != adapter.digest:
        raise InvalidRequest(f"adapter {adapter.name!r}: {adapter.path} is not what it was when it was loaded")
    return files
