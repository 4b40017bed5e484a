"""The thread that a program runs in, with an event loop of its own.

So a program that blocks or never yields holds up nobody else, and the moments at which it can do nothing by itself are
known: only then is it given the next result, one at a time. That makes what it does between two results depend on
nothing but their order.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Protocol, TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")

_ENDS = (asyncio.CancelledError, SystemExit, KeyboardInterrupt, RuntimeError)
"""What a program can end its event loop with; ``main`` is then cancelled, and tells of it."""


class IdleSelector(selectors.DefaultSelector):
    """Tells when its event loop has nothing left to run: ``on_idle`` is given the time until its next timer (None: it
    has none), and returns for how long to wait.
    """

    MAX_BUSY_ROUNDS = 1000
    """A program that polls with ``sleep(0)`` is never idle, and is told all the same."""

    def __init__(self, on_idle: Callable[[float | None], float | None]) -> None:
        super().__init__()
        self._on_idle = on_idle
        self._num_busy_rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See ``selectors.BaseSelector.select``."""
        if timeout is not None and timeout <= 0 and self._num_busy_rounds < self.MAX_BUSY_ROUNDS:
            self._num_busy_rounds += 1
            return super().select(timeout)
        self._num_busy_rounds = 0
        return super().select(self._on_idle(timeout))


class Catching(Protocol):
    """What a loop asks while its program runs again."""

    def is_behind(self) -> bool:
        """It has not done all that it did before."""
        ...

    def is_due(self) -> bool:
        """The next of that comes when a timer has run out."""
        ...


class ProgramLoop(asyncio.SelectorEventLoop):
    """An event loop that takes the next result when it is idle, and whose clock stands while its program catches up.

    Then it is put forward to a timer where nothing else makes the program go on, so that what was slept once is not
    slept again; while a thread works, or a file is waited for, it goes as clocks do.
    """

    def __init__(self, on_idle: Callable[[bool], bool], catching: Catching) -> None:
        self._on_idle = on_idle
        self._catching = catching
        self._num_in_threads = 0
        self._selecting = IdleSelector(self._idle)
        super().__init__(self._selecting)
        self._stands_at: float | None = super().time()
        self._goes_since: float | None = None
        self._ahead_s = 0.0

    def time(self) -> float:
        """See ``asyncio.AbstractEventLoop.time``."""
        now = super().time()
        if self._stands_at is None:
            return now + self._ahead_s
        if self._goes_since is not None:
            self._stands_at += now - self._goes_since
            self._goes_since = None
        stood_at = self._stands_at
        if not self._catching.is_behind():
            self._ahead_s, self._stands_at = stood_at - now, None
        return stood_at

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Answer], *args: *Arguments
    ) -> asyncio.Future[Answer]:
        """See ``asyncio.AbstractEventLoop.run_in_executor``."""
        future = super().run_in_executor(executor, func, *args)
        self._num_in_threads += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self._num_in_threads -= 1

    def _idle(self, timeout_s: float | None) -> float | None:
        if self._on_idle(timeout_s is None):
            return 0
        if self._stands_at is None:
            return timeout_s
        if self._waits_for_others:
            self._goes_since = super().time()
        elif timeout_s is not None and self._catching.is_due():
            self._stands_at += max(0.0, timeout_s)
            return 0
        return timeout_s

    @property
    def _waits_for_others(self) -> bool:
        """Besides timers, for threads or files; its own waking pipe is one."""
        return self._num_in_threads > 0 or len(self._selecting.get_map()) > 1


class ProgramThread:
    """Runs one coroutine to its end. ``on_end`` is called on the outer loop, the others in the thread.

    ``on_idle(is_dormant)`` returns whether it has made something ready; dormant is a loop that waits for no timer.
    For ``catching`` see ``ProgramLoop``. Every other method may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        main: Callable[[], Coroutine[Any, Any, None]],
        on_idle: Callable[[bool], bool],
        catching: Catching,
        on_end: Callable[[], object],
    ) -> None:
        self._main = main
        self._on_end = on_end
        self._outer = asyncio.get_running_loop()
        self._loop = ProgramLoop(on_idle, catching)
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something for it."""
        self.call(lambda: None)

    def cancel(self) -> None:
        """Have it end, as by ``asyncio.Task.cancel``."""
        self.call(lambda: self._task.cancel() if self._task else None)

    def call(self, function: Callable[[], object]) -> None:
        """Call this in the thread, when it yields. After its end nothing happens."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return

    def _run(self) -> None:
        try:
            with suppress(*_ENDS), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._top())
        finally:
            try:
                self._outer.call_soon_threadsafe(self._on_end)
            except RuntimeError:
                pass  # the process ends

    async def _top(self) -> None:
        self._task = asyncio.current_task()
        await self._main()
