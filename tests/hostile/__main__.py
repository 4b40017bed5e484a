"""``python -m tests.hostile [--requests N] [--frames N] [--cycles N] [--seed N]``: a Greenroom of its own, attacked.

Prints what was answered, and exits 1 where a promise was broken: a status of 500 and above that is not 503 with
``Retry-After``, no answer within 10 s, a process that died or holds more than before, a wrong token afterwards.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.served import Served
from tests.cluster.deployed import MODEL
from tests.hostile.suite import PARTS, attack

KV_CACHE_BYTES = 32 << 20
"""Room for less than three full contexts, which the warm-up uses all of: memory that is used for the first time later
would look like a leak."""
REST_S, MEMORY_SHARE, MAX_SHOWN = 60.0, 0.10, 20
COUNTS = {"requests": 10_000, "frames": 10_000, "cycles": 2_000}


def main() -> None:
    """Deploy, attack, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    for part, count in COUNTS.items():
        parser.add_argument(f"--{part}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    config = {
        "models": [{"name": "pocket", "path": MODEL, "engine_args": {"kv_cache_bytes": KV_CACHE_BYTES}}],
        "sessions": {"pool_size": 3, "max_processes": 12},
        "inferlets": {"pool_size": 3, "max_processes": 12},
    }
    num_faults = 0
    with tempfile.TemporaryDirectory() as folder:
        served = Served(config, Path(folder))
        served.start()
        try:
            for part in PARTS:
                count = getattr(arguments, part)
                print(f"{count} {part}, seed {arguments.seed}", flush=True)  # noqa: T201
                found = attack(served, {part: count}, arguments.seed, REST_S, MEMORY_SHARE)
                num_faults += len(found.faults)
                print(f"  {dict(found.counts)}", *found.faults[:MAX_SHOWN], sep="\n  ", flush=True)  # noqa: T201
        finally:
            served.stop()
    sys.exit(1 if num_faults else 0)


if __name__ == "__main__":
    main()
