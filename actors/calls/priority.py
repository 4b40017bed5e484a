"""The scheduling priority of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LIGHT_WORK = 10


def lower_priority() -> None:
    """Give this process a lower priority than the engines: for actors whose work is light, and of which there are many.

    On a machine that computes on its cores, every wake of theirs would else interrupt a step of the engine. On Linux a
    priority belongs to a thread, and Ray has started some by now: each is set, unless it is lower already.
    """
    for thread in _threads():
        with suppress(OSError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), _LIGHT_WORK))
    schedule_in_batches()


def schedule_in_batches() -> None:
    """Use Linux's batch scheduling, which interrupts no other process: for one beside the process that computes."""
    for thread in _threads():
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def _threads() -> Iterator[int]:
    """Of this process; none where they cannot be listed."""
    for thread in Path("/proc/self/task").glob("*"):
        yield int(thread.name)
