"""Five owners, one of them hostile: how much longer the others wait for their first tokens.

``python -m tests.benchmarks.owners [--turns N] [--rounds N] [--engine vllm]``; exits 1 where their p95 is more than
twice that of an idle server.

Four owners talk, each on a session's WebSocket, one short turn after another with a pause between. In every second half
of a round a fifth does all at once what it can: event streams, sockets, half-sent bodies and inferlets beyond its
share, sessions, and 64 turns that run or wait, half of them with long prompts and half with long answers. What it is
refused it tries again when it is told to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deployments.config import embedded_model
from tests.benchmarks.hostile import HOSTILE, NUM_SESSIONS
from tests.benchmarks.served import Served
from tests.benchmarks.serving import ENGINE_ARGS, never_ending
from tests.benchmarks.talker import Talker, key_of

OTHERS = ("ada", "grace", "joan", "mary")
PROMPT, ANSWER = 48, 8
"""Tokens of a turn of the others."""
PAUSE_S = 0.1
STILL_S = 10.0
MAX_INFERLETS = 4
"""Of one owner with a process: what their start takes is not measured, so they wait already."""


@asynccontextmanager
async def hostile_owner(url: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
    """It runs, in a process of its own; what is given ends it and tells what it had."""
    arguments = (sys.executable, "-m", "tests.benchmarks.hostile", url)
    process = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def tell() -> dict[str, Any]:
        stdin.close()
        report: dict[str, Any] = json.loads(await stdout.readline())
        return report

    try:
        assert await stdout.readline() == b"ready\n"
        yield tell
    finally:
        stdin.close()
        await process.wait()


async def until_still(served: Served) -> None:
    """Until no process has been started for a while: the pools start new ones for those that were taken."""
    while any(time.time() - process.create_time() < STILL_S for process in served.all_processes()):  # noqa: ASYNC110
        await asyncio.sleep(1)


async def first_tokens(talkers: list[Talker], num_turns: int) -> list[float]:
    """Of all the others' turns, which come at random moments; seconds."""

    async def talk(talker: Talker) -> list[float]:
        times = []
        for _ in range(num_turns):
            await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))
            times.append(await talker.turn(PROMPT, ANSWER))
        return times

    return [first for times in await asyncio.gather(*map(talk, talkers)) for first in times]


def percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1] * 1e3


async def benchmark(served: Served, num_turns: int, rounds: int) -> bool:
    """Measure and print; whether the others are served as they should be."""
    console = Console()
    async with httpx.AsyncClient(base_url=served.url, timeout=60) as http:
        talkers = [Talker(served.url, owner, 1000) for owner in OTHERS]
        for talker in talkers:
            await talker.open(http)
        await first_tokens(talkers, num_turns)
        found: dict[str, list[float]] = {"idle": [], "beside the hostile owner": []}
        for number in range(rounds):
            found["idle"] += await first_tokens(talkers, num_turns)
            async with hostile_owner(served.url) as tell:
                await until_still(served)
                found["beside the hostile owner"] += await first_tokens(talkers, num_turns)
                report = await tell()
            held = ", ".join(f"{count} {kind}" for kind, count in sorted(report["held"].items()))
            title = f"round {number + 1}: it has {held}, and ends {report['turns_per_s']:.1f} turns/s"
            console.print(title, highlight=False)
            for refusal, count in sorted(report["refusals"].items()):
                console.print(f"  refused {count} times: {refusal}", highlight=False)
        for talker in talkers:
            await talker.close()
    table = Table("server", "turns", "median ms", "p95 ms", "largest ms", title="Others' first tokens")
    for name, times in found.items():
        numbers = (percentile(times, 50), percentile(times, 95), max(times) * 1e3)
        table.add_row(name, str(len(times)), *(f"{number:.1f}" for number in numbers))
    console.print(table)
    ratio = percentile(found["beside the hostile owner"], 95) / percentile(found["idle"], 95)
    console.print(f"p95: {ratio:.2f} times that of an idle server")
    return ratio <= 2


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=list(ENGINE_ARGS), default="torch")
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    keys = [{"key": key_of(owner), "owner": owner} for owner in (*OTHERS, HOSTILE)]
    with tempfile.TemporaryDirectory() as folder:
        path = str(never_ending(Path(embedded_model()), Path(folder) / "model"))
        engine, engine_args = arguments.engine, ENGINE_ARGS[arguments.engine]
        config: dict[str, Any] = {
            "models": [{"name": "pocket", "path": path, "engine": engine, "engine_args": engine_args}],
            "sessions": {"pool_size": NUM_SESSIONS + len(OTHERS)},
            "inferlets": {"max_processes": 4 * MAX_INFERLETS, "pool_size": MAX_INFERLETS},
            "api": {"api_keys": keys, "allow_upload": True},
        }
        served = Served(config, Path(folder))
        served.start()
        try:
            served.wait_for_sessions(NUM_SESSIONS + len(OTHERS))
            is_fair = asyncio.run(benchmark(served, arguments.turns, arguments.rounds))
        finally:
            served.stop()
    sys.exit(0 if is_fair else 1)


if __name__ == "__main__":
    main()
