"""A Ray of this process's own, whatever other Ray runs on the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray

NUM_TRIES = 4
"""Ray gives itself half a minute, which a busy machine might need for what Ray imports; then that is in memory."""


def start_ray(num_cpus: int) -> None:
    """Start one and connect to it; ``ray.shutdown()`` ends it.

    Without an address ``ray.init`` connects to the Ray that RAY_ADDRESS names, or to the last one that was started with
    ``ray start``, whether or not that still runs.
    """
    os.environ.pop("RAY_ADDRESS", None)  # this process's children would inherit it
    others = psutil.Process().children()
    for number in range(NUM_TRIES):
        try:
            ray.init("local", num_cpus=num_cpus, include_dashboard=False, logging_level="error", log_to_driver=False)
            return
        except Exception as error:  # Ray's own, of no class of its own
            if "timed out during startup" not in str(error) or number == NUM_TRIES - 1:
                raise
            for process in psutil.Process().children():
                if process not in others:
                    _kill(process)


def _kill(process: psutil.Process) -> None:
    """With all below it."""
    family = [process, *process.children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a Ray and its note of where it listens. Its path is short: so are those of the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="gr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
