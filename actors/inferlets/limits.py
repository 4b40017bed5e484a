"""Watches that a program keeps to its limits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

from actors.inferlets.run import ProgramRun
from actors.settings import InferletSettings


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit was exceeded; ``needs_new_process`` where the old one must exit.

    Attributes:
        is_final: no later life would keep to it.
    """

    sentence: str
    needs_new_process: bool
    is_final: bool = False


class Watch:
    """Looks at one run, a few times a second.

    A busy machine is no fault of the program: the time from one look to the next counts as what the program computed
    and no more than ``INTERVAL_S`` of the rest, less what it waited for a core. So neither a process that stood still
    nor another thread's hold on the interpreter counts, and a program that keeps the interpreter to itself does.
    """

    INTERVAL_S = 0.1

    def __init__(self, settings: InferletSettings, run: ProgramRun, launched_at: float) -> None:
        self.settings = settings
        self._run = run
        self._launched_at = launched_at
        self._process = psutil.Process()
        self._looked_at, self._core_s = time.monotonic(), run.core_s
        self._counted_s = self._yielded_s = self._replayed_s = 0.0
        self._progress = (0, 0)

    async def violation(self) -> Violation:
        """The first one."""
        self._run.probe()
        while True:
            await asyncio.sleep(self.INTERVAL_S)
            self._count()
            found = self._blocking() or self._memory() or self._time() or self._replay()
            if found:
                return found

    def _count(self) -> None:
        before, (ran_before_s, waited_before_s) = self._looked_at, self._core_s
        self._looked_at, self._core_s = time.monotonic(), self._run.core_s
        ran_s, waited_s = self._core_s[0] - ran_before_s, self._core_s[1] - waited_before_s
        idle_s = self._looked_at - before - ran_s - waited_s
        self._counted_s += ran_s + min(max(idle_s, 0.0), self.INTERVAL_S)

    def _blocking(self) -> Violation | None:
        """What waits for the actor itself does not count."""
        limit_s = self.settings.max_blocking_s
        if self._run.has_yielded or self._run.desk.is_blocking:
            self._yielded_s = self._counted_s
        if self._run.has_yielded:
            self._run.probe()
        if self._counted_s - self._yielded_s < limit_s:
            return None
        return Violation(f"the program did not yield for {limit_s:g} s: it must await something now and then", True)

    def _memory(self) -> Violation | None:
        limit = self.settings.memory_limit_bytes
        if self._process.memory_info().rss < limit:
            return None
        return Violation(f"the program's process took more than {limit >> 20} MiB of memory", True)

    def _time(self) -> Violation | None:
        limit_s = self.settings.time_limit_s
        if limit_s is None or time.time() - self._launched_at < limit_s:
            return None
        return Violation(f"the program ran for longer than {limit_s:g} s", needs_new_process=False, is_final=True)

    def _replay(self) -> Violation | None:
        """A replay that makes no progress waits for a call that the program does not make."""
        host = self._run.host
        if host.progress != self._progress:
            self._progress, self._replayed_s = host.progress, self._counted_s
        missing = host.missing
        if missing is None or self._counted_s - self._replayed_s < self.settings.replay_timeout_s:
            return None
        return Violation(f"the program did not repeat itself: it does not make {missing} again", False)
