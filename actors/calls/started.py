"""What an actor does before its first call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Started:
    """Starts something once for all that await it; where that has failed, the next one starts it again."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._start = start
        self._starting: asyncio.Task[None] | None = None

    async def __call__(self) -> None:
        """Return once it has started.

        Raises:
            Exception: as ``start`` did.
        """
        if self._starting is None or (self._starting.done() and _has_failed(self._starting)):
            self._starting = asyncio.create_task(self._start())
        if not self._starting.done():
            await asyncio.shield(self._starting)


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
