"""How this process stands to the others on its machine."""

from __future__ import annotations

import os
from pathlib import Path

_LIGHT_WORK = 10


def stand_back() -> None:
    """Let the engines have the cores first: for actors whose work is light, and of which there are many.

    On a machine that computes on its cores, every wake of theirs would else interrupt a step of the engine. Niceness
    belongs to threads on Linux, and Ray has started some by now: all of them are told. One that stands further back
    stays there.
    """
    for thread in Path("/proc/self/task").glob("*"):
        try:
            niceness = os.getpriority(os.PRIO_PROCESS, int(thread.name))
            os.setpriority(os.PRIO_PROCESS, int(thread.name), max(niceness, _LIGHT_WORK))
        except OSError:  # it has ended meanwhile
            continue
