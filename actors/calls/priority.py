"""The scheduling priority of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LIGHT_WORK = 10


def stand_back() -> None:
    """Let the engines have the cores first: for actors whose work is light, and of which there are many.

    On a machine that computes on its cores, every wake of theirs would else interrupt a step of the engine. Niceness
    belongs to threads on Linux, and Ray has started some by now: all of them are told. One that stands further back
    stays there.
    """
    for thread in _threads():
        with suppress(OSError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), _LIGHT_WORK))
    wake_gently()


def wake_gently() -> None:
    """Wait for a core that is free, or for the end of a time slice: for a process beside the one that computes."""
    for thread in _threads():
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def _threads() -> Iterator[int]:
    """Of this process; none where they cannot be told."""
    for thread in Path("/proc/self/task").glob("*"):
        yield int(thread.name)
