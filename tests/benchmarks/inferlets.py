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

from actors.cluster.greenroom import Greenroom
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


async def series(call: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Seconds of each of so many, one after another."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        found.append(time.perf_counter() - began)
    return found


async def greeted(greenroom: Greenroom, program: str, is_read: bool = True) -> float:
    """Launch one; seconds until its message is there. Then its end is read too."""
    began, taken_s = time.perf_counter(), 0.0
    instance = await greenroom.launch(program)
    async for _ in instance.events():
        taken_s = taken_s or time.perf_counter() - began
        if not is_read:
            break
    return taken_s


async def greeted_by_client(client: Client, program: str) -> float:
    """The same over HTTP and a WebSocket."""
    began = time.perf_counter()
    instance = await client.launch_instance(program)
    await instance.recv()
    taken_s = time.perf_counter() - began
    async for _ in instance:
        pass
    return taken_s


async def cold(num_launches: int, console: Console) -> None:
    """Each takes a process that starts for it, and keeps it."""
    greenroom = await Greenroom.connect()
    program = await greenroom.upload_program(LIVE, "live.py")
    _, before = await asyncio.to_thread(memory)
    found = [await greeted(greenroom, program, is_read=False) for _ in range(num_launches)]
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
    for _ in range(POOL_SIZE):
        await greeted(greenroom, program)
    whole = [await greeted(greenroom, program) for _ in range(num_launches)]
    console.print(f"{num_launches} in sequence, in processes that wait: {shown(whole)}")
    launches = await series(lambda: greenroom.launch(program), num_launches)
    console.print(f"  of that, until it is durable that it was launched: {shown(launches)}")
    console.print(
        "  a call for its source, and one of the directory, which calls its process, which calls the journal;"
    )
    console.print("  the rest is the program's start, a call of the journal for its message, and one of the reader")
    calls = await series(greenroom.directory.settings, num_launches)
    console.print(f"  a call of an actor and back: {shown(calls)}")
    writes = await series(lambda: greenroom.upload_program(GREETING.read_text(), GREETING.name), num_launches)
    console.print(f"  a call of the journal that writes to the disk: {shown(writes)}")
    async with Client(url) as client:
        found = [await greeted_by_client(client, program) for _ in range(num_launches)]
    console.print(f"{num_launches} in sequence over HTTP and WebSocket: {shown(found)}")
    began = time.perf_counter()
    together = await asyncio.gather(*(greeted(greenroom, program) for _ in range(NUM_TOGETHER)))
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
