"""A Ray of this process's own, whatever other Ray runs on the machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray


def start_ray(num_cpus: int) -> None:
    """Start one and connect to it; ``ray.shutdown()`` ends it.

    Without an address ``ray.init`` connects to the Ray that RAY_ADDRESS names, or to the last one that was started with
    ``ray start``, whether or not that still runs.
    """
    os.environ.pop("RAY_ADDRESS", None)  # this process's children would inherit it
    ray.init("local", num_cpus=num_cpus, include_dashboard=False, logging_level="error", log_to_driver=False)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for a Ray and its note of where it listens. Its path is short: so are those of the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="gr", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
