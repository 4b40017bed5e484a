"""Functions that run beside a program, each in a thread of its own, while this process lives."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Iterable

from typing_extensions import override

from actors.inferlets.output import Output as Printed
from actors.inferlets.output import current_output
from api.errors import TooLarge, WorkerLost, reason_of
from api.inferlet.work_effects import NextOutput, Output, OutputKind, Reporter, Work, WorkCancelled
from api.values import Value, snapshot

MAX_OUTPUTS = 10_000
MAX_SENTENCE_CHARS = 10_000


class Works:
    """The functions of one program. Belongs to one event loop.

    ``begun`` has the numbers of the calls that began one in an earlier life, and have no answer.
    """

    def __init__(self, begun: Iterable[int] = ()) -> None:
        self._begun = frozenset(begun)
        self._running: dict[str, _Running] = {}

    def begins(self, effect: NextOutput) -> bool:
        """This call would begin a function here."""
        return effect.work.id not in self._running

    async def next_output(self, call: int, effect: NextOutput) -> Output:
        """See ``NextOutput``."""
        work = effect.work
        if work.id not in self._running:
            if (call in self._begun or effect.index) and not effect.may_run_again:
                raise WorkerLost(f"the process that ran {work.id} died, and it might have run")
            self._running[work.id] = _Running(work, num_passed_over=effect.index)
        return await self._running[work.id].next()

    def answer(self, work_id: str, value: Value) -> None:
        """Hand a function what it has asked for."""
        if work_id in self._running:
            self._running[work_id].answer(value)

    def abandon(self, work_id: str) -> None:
        """Read it no further, and have it end if it can."""
        if running := self._running.pop(work_id, None):
            running.cancel()

    def stop(self) -> None:
        """Abandon them all."""
        for work_id in list(self._running):
            self.abandon(work_id)


class _Running(Reporter):
    """One function in its thread, which is counted as the program's own: its process ends with one that does not."""

    def __init__(self, work: Work, num_passed_over: int) -> None:
        self._work = work
        self._num_passed_over = num_passed_over
        self._num_put = 0
        self._loop = asyncio.get_running_loop()
        self._outputs: asyncio.Queue[Output] = asyncio.Queue()
        self._answers: queue.SimpleQueue[tuple[Value] | None] = queue.SimpleQueue()
        self._is_cancelled = False
        self._cancels: list[Callable[[], object]] = []
        thread = threading.Thread(target=self._main, name=f"work-{work.id}", daemon=True)
        contextvars.copy_context().run(_start_as_program, thread)

    async def next(self) -> Output:
        """Its next output."""
        while self._num_passed_over:
            await self._outputs.get()
            self._num_passed_over -= 1
        return await self._outputs.get()

    def answer(self, value: Value) -> None:
        """What it has asked for."""
        self._answers.put((value,))

    def cancel(self) -> None:
        """Nobody waits for it."""
        self._is_cancelled = True
        self._answers.put(None)
        for cancel in self._cancels:
            cancel()

    @override
    def put(self, kind: OutputKind, value: Value) -> None:
        if self._is_cancelled:
            raise WorkCancelled
        if self._num_put >= MAX_OUTPUTS:
            raise TooLarge(f"a function can hand {MAX_OUTPUTS} values to its program")
        self._num_put += 1
        self._hand(Output(kind, snapshot(value)))

    @override
    def wait_for_answer(self) -> Value:
        answer = self._answers.get()
        if answer is None:
            raise WorkCancelled
        return answer[0]

    @override
    def on_cancel(self, cancel: Callable[[], object]) -> None:
        self._cancels.append(cancel)
        if self._is_cancelled:
            cancel()

    def _main(self) -> None:
        try:
            output = Output("returned", snapshot(self._work.function(self)))
        except WorkCancelled:
            return
        except BaseException as error:
            sentence = reason_of(error)[:MAX_SENTENCE_CHARS].encode(errors="replace").decode()
            output = Output("raised", [type(error).__name__, sentence])
        self._hand(output)

    def _hand(self, output: Output) -> None:
        try:
            self._loop.call_soon_threadsafe(self._outputs.put_nowait, output)
        except RuntimeError:
            return  # the process ends


def _start_as_program(thread: threading.Thread) -> None:
    current_output.set(Printed(lambda record: None, 0))
    thread.start()
