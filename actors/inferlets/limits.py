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
    """Looks at one run, a few times a second."""

    INTERVAL_S = 0.1

    def __init__(self, settings: InferletSettings, run: ProgramRun, launched_at: float) -> None:
        self._settings = settings
        self._run = run
        self._launched_at = launched_at
        self._process = psutil.Process()
        self._replayed = ((0, 0), time.monotonic())

    async def violation(self) -> Violation:
        """The first one."""
        while True:
            found = self._blocking() or self._memory() or self._time() or self._replay()
            if found:
                return found
            self._run.probe()
            await asyncio.sleep(self.INTERVAL_S)

    def _blocking(self) -> Violation | None:
        """What waits for the actor itself does not count."""
        limit_s = self._settings.max_blocking_s
        if self._run.desk.is_blocking:
            self._run.responded_at = self._run.now()
        if self._run.now() - self._run.responded_at < limit_s:
            return None
        return Violation(f"the program did not yield for {limit_s:g} s: it must await something now and then", True)

    def _memory(self) -> Violation | None:
        limit = self._settings.memory_limit_bytes
        if self._process.memory_info().rss < limit:
            return None
        return Violation(f"the program's process took more than {limit >> 20} MiB of memory", True)

    def _time(self) -> Violation | None:
        limit_s = self._settings.time_limit_s
        if limit_s is None or time.time() - self._launched_at < limit_s:
            return None
        return Violation(f"the program ran for longer than {limit_s:g} s", needs_new_process=False, is_final=True)

    def _replay(self) -> Violation | None:
        """A replay that makes no progress waits for a call that the program does not make."""
        host, now = self._run.host, time.monotonic()
        if host.progress != self._replayed[0]:
            self._replayed = (host.progress, now)
        missing = host.missing
        if missing is None or now - self._replayed[1] < self._settings.replay_timeout_s:
            return None
        return Violation(f"the program did not repeat itself: it does not make {missing} again", False)
