"""The scheduling priority of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIGHT_WORK, ALL_TOKENS = 10, 3
"""Niceness of actors of which there are many, and of those that all tokens go through: at 10 one of these waits for a
core while many of those are busy, at 0 it slows the engine down (``tests/benchmarks``: ``owners``, ``serving``).
"""


def lower_priority(niceness: int = LIGHT_WORK) -> None:
    """Give this process a lower priority than the engines.

    On a machine that computes on its cores, every wake of theirs would else interrupt a step of the engine. On Linux a
    priority belongs to a thread, and Ray has started some by now: each is set, unless it is lower already.
    """
    for thread in _threads():
        with suppress(OSError):  # it has ended meanwhile
            os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), niceness))
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
