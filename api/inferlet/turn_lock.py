"""One turn at a time on a context, in the order in which the program asked for them."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator
from typing import Self

from api.errors import GenerationUnread

UNREAD = (
    "an earlier generation on this context is not read to its end: read the rest of it first, or close it, as "
    "`async with contextlib.aclosing(aiter(generation)) as pieces` does"
)


class TurnLock:
    """Held by a turn, or by the reader of one until it is read to its end or closed.

    Raises ``GenerationUnread`` where it would be waited for in vain: the reader was left by a task that has ended, or
    by the task that asks.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reader: weakref.ref[Pieces] | None = None

    async def __aenter__(self) -> None:
        if not self._is_held and all(waiting.cancelled() for waiting in self._waiting):
            self._is_held = True
            return
        reader = self._reader() if self._reader else None
        if reader is not None and reader.was_left_by(asyncio.current_task()):
            raise GenerationUnread(UNREAD)
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        del reader  # a reader to which only this refers has been left, and ends by itself
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._release()
            raise

    async def __aexit__(self, *error: object) -> None:
        self._reader = None
        self._release()

    def read_by(self, reader: Pieces) -> None:
        """The turn that holds this is read by ``reader``."""
        self._reader = weakref.ref(reader)

    def give_up(self, reader: Pieces) -> None:
        """The task that read has ended: those that wait do so in vain where the reader is still there."""
        if self._reader is not None and self._reader() is reader and reader.was_left_by(None):
            for waiting in self._waiting:
                if not waiting.done():
                    waiting.set_exception(GenerationUnread(UNREAD))
            self._waiting.clear()

    def _release(self) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._is_held = False


class Pieces:
    """What reads a generation; it holds the context's lock while it is not closed."""

    def __init__(self, pieces: AsyncGenerator[str], lock: TurnLock) -> None:
        self._pieces = pieces
        self._lock = lock
        self._task: asyncio.Task[object] | None = None
        self._is_reading = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        self._read_in(asyncio.current_task())
        self._is_reading = True
        try:
            return await anext(self._pieces)
        finally:
            self._is_reading = False

    async def aclose(self) -> None:
        """Read no further. Idempotent."""
        await self._pieces.aclose()

    def was_left_by(self, task: asyncio.Task[object] | None) -> bool:
        """Nothing reads it now, and the task that did has ended, or is this one."""
        return not self._is_reading and self._task is not None and (self._task.done() or self._task is task)

    def _read_in(self, task: asyncio.Task[object] | None) -> None:
        if task is not None and task is not self._task:
            self._task = task
            task.add_done_callback(_TaskEnded(self, self._lock))


class _TaskEnded:
    """Tells a lock that the task of a reader has ended, where the reader is still there."""

    def __init__(self, reader: Pieces, lock: TurnLock) -> None:
        self._reader = weakref.ref(reader)
        self._lock = lock

    def __call__(self, task: asyncio.Task[object]) -> None:
        reader = self._reader()
        if reader is not None:
            self._lock.give_up(reader)
