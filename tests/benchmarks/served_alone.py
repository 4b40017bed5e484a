"""A Greenroom of whichever commit is on ``PYTHONPATH``, until its standard input ends: for ``two_commits``.

``python -P served_alone.py`` prints its URL when it can answer. Its model never ends an answer by itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deployments.config import embedded_model
from tests.benchmarks.served import Served
from tests.benchmarks.serving import ENGINE_ARGS, never_ending


def main() -> None:
    """Deploy, wait, take down."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(never_ending(Path(embedded_model()), Path(folder) / "model"))
        model = {"name": "pocket", "path": path, "engine": "torch", "engine_args": ENGINE_ARGS["torch"]}
        served = Served({"models": [model], "sessions": {"pool_size": 2}}, Path(folder))
        served.start()
        try:
            print(f"URL {served.url}", flush=True)
            sys.stdin.read()
        finally:
            served.stop()


if __name__ == "__main__":
    main()
