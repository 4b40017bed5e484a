"""Thousands of inferlets that wait for a message: their launch, memory and disk, and that each goes on where it was.

``python -m tests.benchmarks.idle_inferlets [--inferlets N] [--at-a-time N] [--processes N]``

Each draws a number, lets the model go on from a prompt, says both, and waits. Woken, it must say the same number, and
go on as one does that was never passivated.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from actors.cluster.greenroom import Greenroom
from actors.inferlets.ref import InferletRef
from api.inferlet_events import Message
from tests.cluster.deployed import Deployed

PROGRAM = """
from api.inferlet import get_auto_model, inferlet, max_len, random, recv, send

@inferlet
async def main(args):
    number = random()
    context = get_auto_model().create_context()
    context.fill_user(args.argv[0])
    while True:
        send([number, await context.generate(stop=max_len(8))])
        context.fill_user(await recv())
"""
PROMPTS = tuple(f"Hello! My name is {name}." for name in ("Ada", "Alan", "Barbara", "Edsger", "Grace", "John"))
WAKE = "What is my name?"
PASSIVATE_AFTER_S = SETTLE_S = 5.0
INFERLETS, OTHERS = "ray::HostedInferlet", ("ray::HostedDirectory", "ray::HostedJournal", "gcs_server", "raylet")


async def said(instance: InferletRef, position: int) -> Any:
    """Its message at a position."""
    while not (events := await instance.read(position - 1, 60.0)):
        pass
    [message] = events
    assert isinstance(message, Message), message
    return message.value


def memory() -> tuple[Counter[str], Counter[str]]:
    """Processes below this one by title: how many, and their USS in bytes."""
    counts: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            first = (process.cmdline() or [process.name()])[0]
            title = first.split(".")[0] if first.startswith("ray::") else Path(first).name
            used[title] += process.memory_full_info().uss
            counts[title] += 1
        except psutil.Error:
            continue
    return counts, used


def shown(seconds: Sequence[float]) -> str:
    """Median, 95th percentile and largest, in ms."""
    ranked = sorted(seconds)
    p95 = ranked[int(0.95 * (len(ranked) - 1))]
    return f"median {statistics.median(ranked) * 1e3:.0f} ms, p95 {p95 * 1e3:.0f} ms, largest {ranked[-1] * 1e3:.0f} ms"


class Idle:
    """The inferlets of one run."""

    def __init__(self, greenroom: Greenroom, program: str, num_at_a_time: int) -> None:
        self.instances: list[InferletRef] = []
        self.said: list[Any] = []
        self._greenroom = greenroom
        self._program = program
        self._places = asyncio.Semaphore(num_at_a_time)

    async def launch(self, number: int) -> float:
        """One; seconds until its first message."""
        async with self._places:
            began = time.perf_counter()
            instance = await self._greenroom.launch(self._program, (PROMPTS[number % len(PROMPTS)],))
            first = await said(instance, 0)
            self.instances.append(instance)
            self.said.append((number, first))
            return time.perf_counter() - began

    async def wake(self, index: int, expected: Sequence[Any]) -> float:
        """One; seconds until its answer, which must go on where it was."""
        async with self._places:
            began = time.perf_counter()
            await self.instances[index].send(WAKE)
            drawn, answer = await said(self.instances[index], 1)
            taken_s = time.perf_counter() - began
        number, (drawn_before, first) = self.said[index]
        assert drawn == drawn_before, "it is another program"
        assert [first, answer] == expected[number % len(PROMPTS)], (first, answer)
        return taken_s

    async def num_waiting(self) -> int:
        """How many have given their process back."""
        return sum(one.state == "waiting" for one in await self._greenroom.inferlets())


async def undisturbed(greenroom: Greenroom, program: str) -> list[Any]:
    """For each prompt, what one says that is never passivated."""
    found = []
    for prompt in PROMPTS:
        instance = await greenroom.launch(program, (prompt,))
        await instance.send(WAKE)
        found.append([(await said(instance, position))[1] for position in (0, 1)])
        await instance.terminate()
    return found


def on_disk(folder: Path) -> int:
    """Bytes of the journal in this folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


async def measure(num: int, num_at_a_time: int, folder: Path, console: Console) -> None:
    """Launch, wait, wake."""
    greenroom = await Greenroom.connect()
    program = await greenroom.upload_program(PROGRAM, "idle.py")
    expected = await undisturbed(greenroom, program)
    disk = await asyncio.to_thread(on_disk, folder)
    _, before = await asyncio.to_thread(memory)
    idle = Idle(greenroom, program, num_at_a_time)
    began = time.perf_counter()
    launched = await asyncio.gather(*(idle.launch(number) for number in range(num)))
    rate = num / (time.perf_counter() - began)
    console.print(f"{num} launched, {num_at_a_time} at a time, {rate:.0f}/s; to the first message: {shown(launched)}")
    began = time.perf_counter()
    num_waiting = await idle.num_waiting()
    console.print(f"a list of them, of which {num_waiting} wait, takes {(time.perf_counter() - began) * 1e3:.0f} ms")
    while await idle.num_waiting() < num:  # noqa: ASYNC110
        await asyncio.sleep(1)
    await asyncio.sleep(SETTLE_S)
    counts, after = await asyncio.to_thread(memory)
    table = Table("all wait", "processes", "MB (USS)", "kB more for each")
    for title in (INFERLETS, *OTHERS):
        more = "" if title == INFERLETS else f"{(after[title] - before[title]) / num / 1e3:.1f}"
        table.add_row(title, str(counts[title]), f"{after[title] / 1e6:.0f}", more)
    console.print(table)
    disk = await asyncio.to_thread(on_disk, folder) - disk
    console.print(f"the journal grew by {disk / num / 1e3:.1f} kB for each")
    half = num // 2
    alone = [await idle.wake(index, expected) for index in range(half)]
    console.print(f"waking {half} one after another: {shown(alone)}")
    began = time.perf_counter()
    together = await asyncio.gather(*(idle.wake(index, expected) for index in range(half, num)))
    rate = len(together) / (time.perf_counter() - began)
    console.print(f"waking {len(together)}, {num_at_a_time} at a time, {rate:.0f}/s: {shown(together)}")
    console.print(f"{(await asyncio.to_thread(memory))[0][INFERLETS]} processes at the end; each went on where it was")


def main() -> None:
    """Deploy, measure, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inferlets", type=int, default=2000)
    parser.add_argument("--at-a-time", type=int, default=8)
    parser.add_argument("--processes", type=int, default=24)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        limits = {"pool_size": 8, "max_processes": arguments.processes, "passivate_after_s": PASSIVATE_AFTER_S}
        deployed = Deployed({"inferlets": limits}, Path(folder) / "journal.db")
        deployed.start()
        try:
            asyncio.run(measure(arguments.inferlets, arguments.at_a_time, Path(folder), Console()))
        finally:
            deployed.stop()


if __name__ == "__main__":
    main()
