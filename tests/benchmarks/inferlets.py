"""Inferlets: what launching one takes, with and without processes that wait for it, and the memory of a live one.

``python -m tests.benchmarks.inferlets [--launches N]``

From the call to the first message of a program that sends it at once. Idle ones: ``tests.benchmarks.idle_inferlets``.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from actors.greenroom import Greenroom
from api.client import Client
from tests.benchmarks.idle_inferlets import INFERLETS, memory, shown
from tests.cluster.deployed import Deployed

NUM_TOGETHER = 100
POOL_SIZE = 8
GREETING = Path(__file__).parents[1] / "programs" / "greeting.py"
LIVE = """
from api.inferlet import inferlet, send
import asyncio
@inferlet
async def live(args):
    send("Hello World!")
    await asyncio.sleep(600)
"""


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


async def series(call: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Seconds of each of so many, one after another."""
    return [await timed(call) for _ in range(count)]


async def greeted(greenroom: Greenroom, program: str) -> None:
    """Launch one, up to its message."""
    instance = await greenroom.launch(program)
    await instance.read(-1, 60.0)


async def greeted_by_client(client: Client, program: str) -> None:
    """The same over HTTP and a WebSocket."""
    instance = await client.launch_instance(program)
    await instance.recv()
    await instance.detach()


async def cold(num_launches: int, console: Console) -> None:
    """Each takes a process that starts for it, and keeps it."""
    greenroom = await Greenroom.connect()
    program = await greenroom.upload_program(LIVE, "live.py")
    _, before = await asyncio.to_thread(memory)
    found = await series(lambda: greeted(greenroom, program), num_launches)
    console.print(f"{num_launches} in sequence, each in a process that starts for it: {shown(found)}")
    counts, used = await asyncio.to_thread(memory)
    each = (used[INFERLETS] - before[INFERLETS]) / num_launches
    console.print(f"{counts[INFERLETS]} live inferlets, {each / 1e6:.1f} MB each (USS of its process)")
    for one in await greenroom.inferlets():
        await (await greenroom.inferlet(one.instance_id)).terminate()


async def warm(num_launches: int, url: str, console: Console) -> None:
    """Processes wait, and are used again."""
    greenroom = await Greenroom.connect()
    program = await greenroom.upload_program(GREETING.read_text(), GREETING.name)
    await series(lambda: greeted(greenroom, program), POOL_SIZE)
    whole = await series(lambda: greeted(greenroom, program), num_launches)
    console.print(f"{num_launches} in sequence, in processes that wait: {shown(whole)}")
    calls = await series(greenroom.directory.settings, num_launches)
    console.print(f"  of that: a call of an actor takes {shown(calls)}; there are eight, some in others:")
    reads = await series(greenroom.programs, num_launches)
    console.print(
        f"  source, directory, process, journal, two to report, journal, reader; the journal's: {shown(reads)}"
    )
    launches = await series(lambda: greenroom.launch(program), num_launches)
    console.print(
        f"  until the launch is durable: {shown(launches)}; the rest is the program, its message and its reader"
    )
    async with Client(url) as client:
        found = await series(lambda: greeted_by_client(client, program), num_launches)
    console.print(f"{num_launches} in sequence over HTTP and WebSocket: {shown(found)}")
    began = time.perf_counter()
    together = await asyncio.gather(*(timed(lambda: greeted(greenroom, program)) for _ in range(NUM_TOGETHER)))
    rate = NUM_TOGETHER / (time.perf_counter() - began)
    console.print(f"{NUM_TOGETHER} at a time, {rate:.0f}/s: {shown(together)}")


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=50)
    num_launches, console = parser.parse_args().launches, Console(width=160)
    with tempfile.TemporaryDirectory() as folder:
        deployed = Deployed({"inferlets": {"pool_size": 0}}, Path(folder) / "journal.db")
        deployed.start()
        try:
            asyncio.run(cold(num_launches, console))
            deployed.deploy(inferlets={"pool_size": POOL_SIZE, "linger_s": 0.5})
            time.sleep(POOL_SIZE)
            asyncio.run(warm(num_launches, deployed.url, console))
        finally:
            deployed.stop()


if __name__ == "__main__":
    main()
