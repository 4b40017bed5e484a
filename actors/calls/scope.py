"""The tasks of an actor: kept while they run, and cancelled together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from weakref import WeakSet

Answer = TypeVar("Answer")


class Scope:
    """Owns tasks, and the scopes of the parts that have tasks of their own. Belongs to one event loop.

    Once it is cancelled, what is started in it is cancelled too.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._parts: WeakSet[Scope] = WeakSet()
        self._whole: Scope | None = None  # which a part keeps, so that it is reached
        self._is_cancelled = False

    @property
    def num_tasks(self) -> int:
        """That run, without those of parts."""
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Run it beside its caller, whether or not anybody awaits the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._is_cancelled:
            task.cancel()
        return task

    def part(self) -> Scope:
        """A new scope that is cancelled with this one, and can be cancelled alone."""
        return self.adopt(Scope())

    def adopt(self, part: Scope) -> Scope:
        """Let a scope be cancelled with this one."""
        self._parts.add(part)
        part._whole = self
        if self._is_cancelled:
            part.cancel()
        return part

    async def settled(self) -> None:
        """Return when the tasks that run now have ended, however they end; those of parts are not waited for."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def cancel(self) -> None:
        """Cancel everything in it, and what is started later. Again: nothing, so that what cleans up is left to it."""
        if self._is_cancelled:
            return
        self._is_cancelled = True
        for part in list(self._parts):
            part.cancel()
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Cancel everything in it, and wait until it has ended. Not for a task of its own."""
        self.cancel()
        await asyncio.gather(*self._tasks, *(part.close() for part in list(self._parts)), return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)  # a task that runs keeps its scope, where nobody else does
