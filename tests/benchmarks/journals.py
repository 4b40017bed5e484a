"""Records a second that each journal makes durable, of 1 and of 200 streams, beside pgbench on the same server.

``python -m tests.benchmarks.journals [--streams N ...] [--seconds S] [--rounds N]``

Needs Debian's ``postgresql``, of which it starts a server of its own. Each stream appends one record of 200 bytes after
another, as a session does with its turns. ``pgbench --builtin=simple-update`` has as many clients as there are streams,
at most 50. All take turns in each round.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from actors.journal.stores import store_of
from actors.settings import JournalSettings
from tests import postgres
from tests.benchmarks.report import printed, require

RECORD = b"x" * 200
MOST_CLIENTS = 50


async def appends_per_s(settings: JournalSettings, num_streams: int, seconds: float) -> float:
    """By streams of a journal that is there."""
    store = store_of(settings)
    await store.start()
    names = [f"{time.monotonic_ns()}/{number}" for number in range(num_streams)]
    await asyncio.gather(*(store.create(name, "", "m", [], None) for name in names))
    end, count = time.monotonic() + seconds, 0

    async def write(name: str) -> None:
        nonlocal count
        position = 0
        while time.monotonic() < end:
            await store.append(name, 1, position, [RECORD], None)
            position += 1
            count += 1

    began = time.monotonic()
    await asyncio.gather(*map(write, names))
    rate = count / (time.monotonic() - began)
    await store.stop()
    return rate


def pgbench(server: postgres.Server, url: str, num_clients: int, seconds: float) -> float:
    """Transactions a second."""
    command = ["pgbench", url, "-n", "-b", "simple-update", "-T", str(max(1, round(seconds)))]
    command += ["-c", str(min(num_clients, MOST_CLIENTS)), "-j", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


@contextmanager
def places() -> Iterator[tuple[postgres.Server, JournalSettings, JournalSettings, str]]:
    """The server, a file, a database, and one that pgbench has filled."""
    with postgres.server() as server, tempfile.TemporaryDirectory() as folder:
        filled = server.new_database()
        subprocess.run(["pgbench", "-i", "-q", filled], capture_output=True, check=True)
        file, database = JournalSettings(str(Path(folder) / "journal.db")), JournalSettings(url=server.new_database())
        yield server, file, database, filled


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 200])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    require(["asyncpg"], ["pgbench"])
    columns = ("streams", "SQLite", "PostgreSQL", "pgbench", "PostgreSQL / pgbench")
    table = Table(*columns, title="Durable records a second")
    with printed(table, Console()), places() as (server, file, database, filled):
        for num_streams in arguments.streams:
            rows: list[tuple[float, float, float]] = []
            for _ in range(arguments.rounds):
                ours = [asyncio.run(appends_per_s(one, num_streams, arguments.seconds)) for one in (file, database)]
                rows.append((ours[0], ours[1], pgbench(server, filled, num_streams, arguments.seconds)))
            sqlite, on_postgres, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
            numbers = (f"{sqlite:.0f}", f"{on_postgres:.0f}", f"{theirs:.0f}", f"{on_postgres / theirs:.2f}")
            table.add_row(str(num_streams), *numbers)


if __name__ == "__main__":
    main()
