"""Between a program's thread and the event loop of its actor."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from actors.calls.scope import Scope


class Crossing:
    """Has things done on the loop that it was made on. ``call`` and ``wait`` are for the program's thread.

    Attributes:
        is_blocking: the thread waits for an answer.
        is_closed: nothing is done any longer.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.is_blocking = False
        self.is_closed = False
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._asking: set[concurrent.futures.Future[Any]] = set()
        self._working: dict[concurrent.futures.Future[Any], asyncio.Task[Any]] = {}

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """On the loop, and in its context: what is printed there is not the program's."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments, context=self._context.copy())
        except RuntimeError:
            return  # the process ends

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What this comes to.

        Raises:
            CancelledError: it was closed.
        """
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._asking.add(future)
        self.call(self._work, work, future)
        self.is_blocking = True
        try:
            if self.is_closed:
                future.cancel()
            return future.result()
        except concurrent.futures.CancelledError:
            raise asyncio.CancelledError("the inferlet has ended") from None
        finally:
            self.is_blocking = False
            self._asking.discard(future)

    def close(self) -> None:
        """Calls that wait are cancelled."""
        self.is_closed = True
        for asking in list(self._asking):
            asking.cancel()
        for work in list(self._working.values()):
            work.cancel()

    def _work(self, work: Coroutine[Any, Any, Any], future: concurrent.futures.Future[Any]) -> None:
        task = self._scope.start(work)
        self._working[future] = task

        def done(task: asyncio.Task[Any]) -> None:
            del self._working[future]
            if future.cancelled():
                return
            if task.cancelled():
                future.cancel()
            elif error := task.exception():
                future.set_exception(error)
            else:
                future.set_result(task.result())

        task.add_done_callback(done)
