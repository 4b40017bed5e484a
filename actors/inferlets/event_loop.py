"""The thread that a program runs in, with an event loop of its own.

So a program that blocks or never yields delays no other, and the moments at which it can do nothing by itself are
known: only then is it given the next result, or told that a timer ran out or a thread came back, one at a time. That
makes what it does depend on nothing but their order.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial, wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar, TypeVarTuple

from typing_extensions import override

from actors.inferlets.task_order import NumberingLoop
from actors.inferlets.timers import Clock, Waits
from api.errors import Unsupported

Arguments = TypeVarTuple("Arguments")
Answer = TypeVar("Answer")

_ENDS = (asyncio.CancelledError, SystemExit, KeyboardInterrupt, RuntimeError)
"""What a program can end its event loop with; ``main`` is then cancelled, and tells of it."""


NO_SUBPROCESS = (
    "a program cannot await a subprocess, since its output would not come at the same points again: "
    "use await asyncio.to_thread(subprocess.run, [...], capture_output=True)"
)


class LoopHost(Protocol):
    """What the event loop of a program needs of its host."""

    clock: Clock
    waits: Waits

    def on_idle(self) -> float | None:
        """See ``IdleSelector``."""
        ...

    def sleeps_again(self) -> bool:
        """See ``ProgramHost.sleeps_again``."""
        ...


class IdleSelector(selectors.DefaultSelector):
    """Tells when its event loop has nothing left to run: ``on_idle`` returns for how long to wait; None: for ever."""

    MAX_BUSY_ROUNDS = 1000
    """A program that polls with ``sleep(0)`` is never idle, and is told all the same."""

    MAX_IDLE_S = 86_400.0
    """After which ``on_idle`` is asked again: the system's call refuses to wait for more than 24.8 days."""

    def __init__(self, on_idle: Callable[[], float | None]) -> None:
        super().__init__()
        self._on_idle = on_idle
        self._num_busy_rounds = 0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_busy = timeout is not None and timeout <= 0
        if is_busy and self._num_busy_rounds < self.MAX_BUSY_ROUNDS:
            self._num_busy_rounds += 1
            return super().select(timeout)
        self._num_busy_rounds = 0
        idle_s = self._on_idle()
        if is_busy:
            return super().select(timeout)
        return super().select(None if idle_s is None else min(idle_s, self.MAX_IDLE_S))


class Timer(asyncio.TimerHandle):
    """A timer with the number of its wait."""

    __slots__ = ("number",)
    number: int


class ProgramLoop(NumberingLoop):
    """An event loop whose timers and threads are waits of the program: each ends when ``on_idle`` says so, alone."""

    _ready: deque[asyncio.Handle]

    def __init__(self, host: LoopHost) -> None:
        self._host = host
        self._clock, self._waits = host.clock, host.waits
        super().__init__(IdleSelector(host.on_idle))
        pass_over_sleeps()

    @override
    def time(self) -> float:
        return self._clock.time()

    def passes_over_sleep(self) -> bool:
        """Whether the current task need not wait in ``sleep``: an earlier life did, and here too nothing else can run.

        What is numbered has the same number afterwards.
        """
        task = asyncio.current_task(self)
        if self._ready or task is None or task._must_cancel or not self._host.sleeps_again():  # type: ignore[attr-defined]
            return False
        self.next_number()
        return True

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """The delay is measured on the program's clock, which is frozen while the program runs."""
        context = context or copy_context()
        timer = Timer(when, callback, args, self, context)

        def run() -> None:
            if not timer.cancelled():
                callback(*args)

        def end() -> None:
            self.call_soon(run, context=context)

        timer.number = self._waits.begin_timer(when - self.time(), end)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        assert isinstance(handle, Timer)
        self._waits.drop(handle.number)

    @override
    async def subprocess_exec(self, *arguments: Any, **options: Any) -> Any:
        """Not here."""
        raise Unsupported(NO_SUBPROCESS)

    async def subprocess_shell(self, *arguments: Any, **options: Any) -> Any:
        """The same."""
        raise Unsupported(NO_SUBPROCESS)

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Answer], *args: *Arguments
    ) -> asyncio.Future[Answer]:
        work = super().run_in_executor(executor, func, *args)
        told: asyncio.Future[Answer] = self.create_future()
        number = self._waits.begin_thread(partial(_tell, work, told))

        def came_back(_: object) -> None:
            if not work.cancelled():
                work.exception()  # retrieved, so that asyncio does not log it
            self._waits.came_back(number)

        def settled(_: object) -> None:
            self._waits.drop(number)
            work.cancel()

        work.add_done_callback(came_back)
        told.add_done_callback(settled)
        return told


def pass_over_sleeps() -> None:
    """Have ``asyncio.sleep`` return at once in a program's loop that says so. Idempotent."""
    if not hasattr(asyncio.sleep, "__wrapped__"):
        asyncio.sleep = asyncio.tasks.sleep = _passed_over(asyncio.sleep)


def _passed_over(original: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """A replay of timers would else go through the event loop and the system's ``select`` three times for each."""

    @wraps(original)
    async def sleep(delay: float, result: Any = None) -> Any:
        if delay > 0:
            loop = asyncio.get_running_loop()
            if isinstance(loop, ProgramLoop) and loop.passes_over_sleep():
                return result
        return await original(delay, result)

    return sleep


def _tell(work: asyncio.Future[Answer], told: asyncio.Future[Answer]) -> None:
    if told.done():
        return
    if work.cancelled():
        told.cancel()
    elif error := work.exception():
        told.set_exception(error)
    else:
        told.set_result(work.result())


class ProgramThread:
    """Runs one coroutine to its end. ``on_end`` is called on the outer loop, the host in the thread.

    Every method may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        main: Callable[[], Coroutine[Any, Any, None]],
        host: LoopHost,
        on_end: Callable[[], object],
    ) -> None:
        self._main = main
        self._on_end = on_end
        self._outer = asyncio.get_running_loop()
        self._loop = ProgramLoop(host)
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def core_s(self) -> tuple[float, float]:
        """Seconds on a core, and seconds that it waited for one, all in all; 0 where the system does not say."""
        try:
            ran_ns, waited_ns, _ = Path(f"/proc/self/task/{self._thread.native_id}/schedstat").read_text().split()
        except (OSError, ValueError):
            return 0.0, 0.0
        return int(ran_ns) / 1e9, int(waited_ns) / 1e9

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
