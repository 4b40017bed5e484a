"""Has a model's actor in memory while the model is wanted."""

from __future__ import annotations

import asyncio
from typing import Protocol

from actors.directory.messages import Demand
from api.errors import GreenroomError, reason_of
from api.logs import event_logger

log = event_logger("greenroom.pool")


class Directory(Protocol):
    """What this needs of the directory."""

    async def demand(self, model: str, is_there: bool, wait_s: float) -> Demand:
        """See ``DirectoryRef.demand``."""
        ...

    async def start_failed(self, model: str, reason: str) -> None:
        """See ``DirectoryRef.start_failed``."""
        ...


class Host(Protocol):
    """Who starts and ends the actor."""

    @property
    def is_there(self) -> bool:
        """It has been started."""
        ...

    async def start(self) -> None:
        """Start it; return when it can answer.

        Raises:
            GreenroomError: it cannot be; nothing of it is left.
        """
        ...

    async def end_unused(self, idle_s: float) -> None:
        """End it if nobody has used it for so long."""
        ...


class Presence:
    """Of one actor of a model: follows what the directory says of the model's demand."""

    WAIT_S = 30.0
    RETRY_S = 1.0
    AFTER_FAILURE_S = 5.0

    def __init__(self, model: str, host: Host, directory: Directory) -> None:
        self._model = model
        self._host = host
        self._directory = directory

    async def keep(self) -> None:
        """Do so until this is cancelled."""
        while True:
            try:
                await self._follow()
            except GreenroomError as error:
                log.warning("the directory does not answer", model=self._model, error=str(error))
            except Exception:
                log.exception("an actor cannot be started or ended", model=self._model)
            else:
                continue
            await asyncio.sleep(self.RETRY_S)

    async def _follow(self) -> None:
        is_there = self._host.is_there
        demand = await self._directory.demand(self._model, is_there, self.WAIT_S)
        if demand.is_there and not is_there:
            await self._start()
        elif is_there and not demand.is_there:
            await self._host.end_unused(demand.idle_s)
            if self._host.is_there:  # somebody has come
                await asyncio.sleep(self.RETRY_S)

    async def _start(self) -> None:
        log.info("the model is wanted", model=self._model)
        try:
            await self._host.start()
        except GreenroomError as error:
            log.warning("the model cannot be started", model=self._model, error=str(error))
            await self._directory.start_failed(self._model, reason_of(error))
            await asyncio.sleep(self.AFTER_FAILURE_S)
