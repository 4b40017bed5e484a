"""What has come out since the last step."""

from __future__ import annotations

import asyncio

from actors.engine.contract import Output
from api.errors import Unavailable


class Outputs:
    """Outputs wait here for ``Engine.step``; there are no more of them than turns may bring."""

    def __init__(self) -> None:
        self._waiting: list[Output] = []
        self._has_come = asyncio.Event()
        self._failure: Unavailable | None = None

    def give(self, output: Output) -> None:
        """Add one."""
        self._waiting.append(output)
        self._has_come.set()

    def fail(self, failure: Unavailable) -> None:
        """No more will come; the first reason counts."""
        self._failure = self._failure or failure
        self._has_come.set()

    def check(self) -> None:
        """That more may come.

        Raises:
            Unavailable: they will not.
        """
        if self._failure is not None:
            raise self._failure

    async def take(self) -> list[Output]:
        """All of them, at least one.

        Raises:
            Unavailable: no more will come.
        """
        while not self._waiting:
            self.check()
            self._has_come.clear()
            await self._has_come.wait()
        taken, self._waiting = self._waiting, []
        return taken
