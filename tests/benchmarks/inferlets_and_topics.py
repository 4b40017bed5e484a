"""All about inferlets and topics in one run: messages beside Redis, launches, memory of live and idle inferlets.

``python -m tests.benchmarks.inferlets_and_topics [--inferlets N]``; each part is a command of its own as well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.benchmarks.report import require


def main() -> None:
    """One part after another, each on a Ray of its own; those after one that fails are run all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inferlets", type=int, default=200, help="how many are left idle")
    idle = ("idle_inferlets", "--inferlets", str(parser.parse_args().inferlets))
    require(programs=["redis-server"])
    failed = []
    for name, *arguments in (("broker",), ("inferlets",), idle):
        print(f"\n{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *arguments], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"{', '.join(failed)} failed")


if __name__ == "__main__":
    main()
