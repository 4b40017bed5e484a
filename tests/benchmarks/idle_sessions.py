"""Many sessions, each used once and left idle: what opening costs, their memory, and what waking one costs.

``python -m tests.benchmarks.idle_sessions [--sessions N]``
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from rich.console import Console

from actors.cluster.greenroom import Greenroom
from actors.sessions.ref import SessionRef
from api.cluster import SessionOptions
from api.turns import Stop, Tokens, TurnRequest
from tests.benchmarks.served import Served
from tests.benchmarks.serving import prompt

PASSIVATE_AFTER_S = 240.0


async def use(session: SessionRef, index: int) -> float:
    """One short turn; seconds to its first token."""
    began = time.perf_counter()
    request = TurnRequest(uuid.uuid4().hex, (Tokens(prompt(index, 16)),), stop=Stop(8, at_eos=False))
    first = 0.0
    async for _ in await session.begin(request):
        first = first or time.perf_counter() - began
    return first


def memory(served: Served) -> tuple[int, int]:
    """How many session actors there are, and their USS together in bytes."""
    pids = served.processes("ray::HostedSession")
    return len(pids), sum(psutil.Process(pid).memory_full_info().uss for pid in pids)


async def measure(served: Served, num_sessions: int, console: Console) -> None:
    """Open, use, wait, wake."""
    greenroom = await Greenroom.connect()
    sessions, opening = [], []
    began = time.perf_counter()
    for index in range(num_sessions):
        started = time.perf_counter()
        session = await greenroom.open_session(SessionOptions())
        opening.append(time.perf_counter() - started)
        await use(session, index)
        sessions.append(session)
    console.print(f"{num_sessions} sessions opened and used in {time.perf_counter() - began:.0f} s, one after another")
    console.print(f"opening: median {statistics.median(opening) * 1e3:.0f} ms, largest {max(opening) * 1e3:.0f} ms")
    count, used = await asyncio.to_thread(memory, served)
    console.print(f"active: {count} actors, {used / 1e6:.0f} MB, {used / max(1, count) / 1e6:.1f} MB each (USS)")
    warm = [await use(session, index) for index, session in enumerate(sessions)]
    console.print(f"first token of the second turn, active: median {statistics.median(warm) * 1e3:.0f} ms")
    while any(summary.state == "active" for summary in await greenroom.sessions()):  # noqa: ASYNC110
        await asyncio.sleep(2)
    await asyncio.sleep(5)
    count, used = await asyncio.to_thread(memory, served)
    console.print(f"idle for {PASSIVATE_AFTER_S:.0f} s: {count} actors are left, {used / 1e6:.0f} MB")
    woken = [await use(session, index) for index, session in enumerate(sessions[:50])]
    console.print(f"first token of the third turn, passive: median {statistics.median(woken) * 1e3:.0f} ms")


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = {"sessions": {"pool_size": 8, "passivate_after_s": PASSIVATE_AFTER_S}}
        served = Served(config, Path(folder))
        served.start()
        try:
            asyncio.run(measure(served, arguments.sessions, Console()))
        finally:
            served.stop()


if __name__ == "__main__":
    main()
