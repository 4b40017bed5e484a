"""Reports the stages of a model actor's start to the directory."""

from __future__ import annotations

import asyncio
from typing import Protocol

from actors.calls.scope import Scope
from actors.models.messages import StartReport
from api.errors import GreenroomError
from api.logs import event_logger

log = event_logger("greenroom.model")


class Directory(Protocol):
    """What this needs of the directory."""

    async def report_start(self, report: StartReport) -> None:
        """Take note of a model actor that starts."""
        ...


class Progress:
    """Tells the directory the stages of a start, again and again until it is over. An async context manager."""

    def __init__(self, name: str, incarnation: str, directory: Directory | None, interval_s: float) -> None:
        self._name = name
        self._incarnation = incarnation
        self._directory = directory
        self._interval_s = interval_s
        self._stages: list[str] = []
        self._scope = Scope()

    async def __aenter__(self) -> Progress:
        self._scope.start(self._keep_telling())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._scope.close()

    def reached(self, stage: str) -> None:
        """The start is here."""
        log.info("starting", model=self._name, stage=stage)
        self._stages.append(stage)

    async def _keep_telling(self) -> None:
        while self._directory is not None:
            try:
                await self._directory.report_start(StartReport(self._name, self._incarnation, tuple(self._stages)))
            except GreenroomError as error:
                log.warning("the directory does not take reports", error=str(error))
            await asyncio.sleep(self._interval_s)
