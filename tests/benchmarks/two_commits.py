"""Is it slower than before? Two commits' servers at once, measured in turns by one client.

``python -m tests.benchmarks.two_commits [COMMIT] [--streams N …] [--rounds N]``: the working tree beside a commit, by
default the last one.

The ratio is the median of those of the rounds, since a machine's speed changes from one minute to the next. So one
round says little: its ratios are printed too, as a quarter and three quarters of them are below.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.load import Row, Stream, measure
from tests.benchmarks.report import printed, require

HERE = Path(__file__).parents[2]
PROMPT, NUM_TOKENS, MAX_SETTLING_S = 48, 128, 180
NOW, BEFORE = "now", "before"


class Server:
    """One of the two, as its clients see it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=120)
        self._sessions: list[tuple[str, ClientConnection]] = []

    async def open(self, num_streams: int) -> None:
        """This number of sessions, with a socket each."""
        for _ in range(num_streams):
            session = (await self._http.post("/api/sessions", json={})).raise_for_status().json()["id"]
            address = f"{self._url.replace('http', 'ws', 1)}/api/sessions/{session}"
            self._sessions.append((session, await connect(address, max_size=None)))

    async def reset(self) -> None:
        """Empty all contexts, so that every measurement begins with the same."""
        for session, _ in self._sessions:
            (await self._http.post(f"/api/sessions/{session}/rollback", json={"length": 0})).raise_for_status()

    async def websocket(self, index: int) -> AsyncIterator[int]:
        """The next turn of one session."""
        _, socket = self._sessions[index]
        tokens = random.Random(index).choices(range(300, 900), k=PROMPT)
        await socket.send(json.dumps({"type": "generate", "tokens": tokens, "max_tokens": NUM_TOKENS}))
        while (message := json.loads(await socket.recv()))["type"] != "finished":
            assert message["type"] != "error", message
            if message["type"] == "tokens":
                yield len(message["ids"])

    async def petals(self, index: int) -> AsyncIterator[int]:
        """One POST without a session."""
        data = {"inputs": f"{' word' * 24} {index}", "max_new_tokens": NUM_TOKENS}
        answer = (await self._http.post("/api/v1/generate", data=data)).json()
        assert answer["ok"], answer
        yield NUM_TOKENS

    async def close(self) -> None:
        """Leave it."""
        for _, socket in self._sessions:
            await socket.close()
        await self._http.aclose()


@contextmanager
def serving(tree: Path) -> Iterator[str]:
    """The URL of a server of this tree's code, on a Ray of its own."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        environment = {**os.environ, "PYTHONPATH": str(tree), "RAY_TMPDIR": folder, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", str(Path(__file__).with_name("served_alone.py"))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        with subprocess.Popen(command, cwd=tree, env=environment, text=True, **pipes) as server:  # type: ignore[call-overload]
            url = next((line.split()[1] for line in server.stdout if line.startswith("URL")), None)
            if url is None:
                log.seek(0)
                sys.exit(f"the server of {tree} did not start:\n{log.read()[-2000:]}")
            yield url
            server.stdin.close()


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Its files, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=HERE, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=HERE, check=True)


async def compare(urls: dict[str, str], streams: list[int], rounds: int) -> None:
    """Measure and print."""
    servers = {name: Server(url) for name, url in urls.items()}
    for server in servers.values():
        await server.open(max(streams))
        await measure(server.websocket, max(streams), 1)
        await server.reset()
    await _settled()
    titles = ("streams", "way", "tokens/s, now / before", "¼, ¾", "first token, now / before", "tokens/s", "before")
    with printed(Table(*titles, title="Two commits"), Console()) as table:
        for way in ("websocket", "petals"):
            for num_streams in streams:
                rows: dict[str, list[Row]] = {name: [] for name in servers}
                for number in range(rounds):
                    for name in sorted(servers, reverse=bool(number % 2)):
                        stream: Stream = getattr(servers[name], way)
                        rows[name].append(await measure(stream, num_streams, 3))
                        await servers[name].reset()
                table.add_row(str(num_streams), way, *_cells(rows))
    for server in servers.values():
        await server.close()


async def _settled() -> None:
    """Until the processes have started that wait for the next sessions, unless others keep the machine busy."""
    for _ in range(MAX_SETTLING_S):
        if os.getloadavg()[0] < 0.75 * (os.cpu_count() or 1):
            return
        await asyncio.sleep(1)


def _cells(rows: dict[str, list[Row]]) -> Iterator[str]:
    pairs = list(zip(rows[NOW], rows[BEFORE], strict=True))
    rates = [now.tokens_per_s / before.tokens_per_s for now, before in pairs]
    low, middle, high = statistics.quantiles(rates, n=4, method="inclusive")
    yield f"{middle:.3f}"
    yield f"{low:.2f}, {high:.2f}"
    yield f"{statistics.median(now.first_token_ms / before.first_token_ms for now, before in pairs):.3f}"
    for name in (NOW, BEFORE):
        yield f"{statistics.median(row.tokens_per_s for row in rows[name]):.0f}"


def main() -> None:
    """Start both, measure, end both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("a ratio of one round says nothing: --rounds 2 or more")
    require(programs=["git"])
    with checked_out(arguments.commit) as tree, serving(tree) as before, serving(HERE) as now:
        asyncio.run(compare({NOW: now, BEFORE: before}, arguments.streams, arguments.rounds))


if __name__ == "__main__":
    main()
