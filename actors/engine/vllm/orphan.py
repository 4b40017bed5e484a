"""A process of vLLM's does not outlive the model actor that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

CHECK_INTERVAL_S = 1.0


def end_with_parent() -> None:
    """End this process soon after its parent's death: a killed actor does not end its children.

    Without a parent of ``multiprocessing``, nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_watch, args=(parent.pid,), name="parent-watch", daemon=True).start()


def _watch(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(CHECK_INTERVAL_S)
    os._exit(1)
