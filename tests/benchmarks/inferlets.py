"""Inferlets: launching one that sends a message at once, memory per live and idle one, and waking the idle ones.

``python -m tests.benchmarks.inferlets [--launches N] [--idle N]``
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console

from actors.greenroom import Greenroom
from actors.inferlet_ref import InferletRef
from tests.cluster.deployed import Deployed, processes

GREETING = Path(__file__).parents[1] / "programs" / "greeting.py"
ECHO = """
from api.inferlet import inferlet, recv, send
@inferlet
async def echo(args):
    while True:
        send(await recv())
"""
PASSIVATE_AFTER_S = 5.0


async def greeted(greenroom: Greenroom, program: str) -> float:
    """Launch one; seconds until its message is there."""
    began = time.perf_counter()
    instance = await greenroom.launch(program)
    await instance.read(-1, 60.0)
    return time.perf_counter() - began


async def answered(instance: InferletRef, number: int) -> float:
    """Send one a message; seconds until it has come back."""
    began = time.perf_counter()
    await instance.send(number)
    while not await instance.read(number - 1, 60.0):
        pass
    return time.perf_counter() - began


def memory() -> tuple[int, int]:
    """How many inferlet actors there are, and their USS together in bytes."""
    pids = processes("ray::HostedInferlet")
    return len(pids), sum(psutil.Process(pid).memory_full_info().uss for pid in pids)


def said(seconds: list[float]) -> str:
    """Median and largest, in ms."""
    return f"median {statistics.median(seconds) * 1e3:.0f} ms, largest {max(seconds) * 1e3:.0f} ms"


async def measure(num_launches: int, num_idle: int, console: Console) -> None:
    """Launch, talk, wait, wake."""
    greenroom = await Greenroom.connect()
    program = await greenroom.upload_program(GREETING.read_text(), GREETING.name)
    cold = [await greeted(greenroom, program) for _ in range(num_launches)]
    console.print(f"launch to first message, {num_launches} in sequence: {said(cold)}")
    began = time.perf_counter()
    together = await asyncio.gather(*(greeted(greenroom, program) for _ in range(100)))
    console.print(f"100 at a time: {said(together)}, {time.perf_counter() - began:.1f} s for all")
    warm = [await greeted(greenroom, program) for _ in range(num_launches)]
    console.print(f"{num_launches} in sequence with warm processes: {said(warm)}")
    echo = await greenroom.upload_program(ECHO, "echo.py")
    instances = []
    for _ in range(num_idle):
        instance = await greenroom.launch(echo)
        await answered(instance, 0)
        instances.append(instance)
    count, used = await asyncio.to_thread(memory)
    console.print(f"{count} processes, {used / 1e6:.0f} MB, {used / max(1, count) / 1e6:.1f} MB each (USS)")
    while sum(one.state == "waiting" for one in await greenroom.inferlets()) < num_idle:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    count, used = await asyncio.to_thread(memory)
    console.print(f"{num_idle} are put away: {count} processes are left, {used / 1e6:.0f} MB")
    woken = [await answered(instance, 1) for instance in instances]
    console.print(f"waking each once, to its answer: {said(woken)}")


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--launches", type=int, default=50)
    parser.add_argument("--idle", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = {"inferlets": {"pool_size": 8, "passivate_after_s": PASSIVATE_AFTER_S, "linger_s": 0.5}}
        deployed = Deployed(config, Path(folder) / "journal.db")
        deployed.start()
        try:
            asyncio.run(measure(arguments.launches, arguments.idle, Console()))
        finally:
            deployed.stop()


if __name__ == "__main__":
    main()
