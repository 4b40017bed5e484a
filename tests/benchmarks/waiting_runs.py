"""Runs that wait for a person: what they take meanwhile, and that each goes on and ends when it is answered.

``python -m tests.benchmarks.waiting_runs [--runs N] [--at-a-time N]``

Threads, directory, journal and model are plain objects in this one process, without Ray; the model is scripted.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

import psutil

from actors.cluster.greenroom import Greenroom
from actors.inferlets.instance import Instance
from api.threads.commands import GivenAnswer, Prompt
from api.threads.contract import BlockQuery
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import called

PASSIVATE_AFTER_S = 0.5
ASK = BlockQuery(kinds=frozenset({"ask"}))


def memory() -> int:
    """Bytes of this process."""
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


def on_disk(folder: Path) -> int:
    """Bytes of the journal in this folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def num_active(small: SmallCluster) -> int:
    """Threads that have an actor; those that have left theirs are forgotten."""
    for name, slot in list(small.slots.items()):
        if slot._died.is_set():
            del small.slots[name]
    return sum(isinstance(slot.target.tenant, Instance) for slot in small.slots.values())


async def begin(greenroom: Greenroom, amount: int, places: asyncio.Semaphore) -> tuple[str, str]:
    """The ids of a thread and of its run, once that waits."""
    async with places:
        thread = await greenroom.agents.open("quiet", None, "")
        outcome = await thread.prompt(Prompt(called("pay", amount=amount)))
        run = await thread.wait(outcome.run.id, 120.0)
        assert run.state == "waiting", run
        return thread.thread_id, run.id


async def finish(greenroom: Greenroom, thread_id: str, run_id: str, places: asyncio.Semaphore) -> str:
    """Answer it; the last that it says."""
    async with places:
        thread = await greenroom.agents.thread(thread_id, "")
        (ask,), _ = await thread.blocks(ASK)
        await thread.answer(run_id, (GivenAnswer(ask.id, approve=True),))
        run = await thread.wait(run_id, 120.0)
        assert run.state == "succeeded", run
        blocks, _ = await thread.blocks(BlockQuery())
        return blocks[-1].text


async def measure(num: int, num_at_a_time: int, folder: Path) -> None:
    """Begin, wait until none has an actor, answer."""
    places = asyncio.Semaphore(num_at_a_time)
    async with scripted_cluster(folder, passivate_after_s=PASSIVATE_AFTER_S) as small:
        warm = await begin(small.greenroom, 11, places)
        assert await finish(small.greenroom, *warm, places) == "told paid 11"
        before, began = memory(), time.perf_counter()
        runs = await asyncio.gather(*(begin(small.greenroom, 100 + number, places) for number in range(num)))
        print(f"{num} runs wait after {time.perf_counter() - began:.1f} s, {num_at_a_time} were begun at a time")
        while num_active(small):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        more = memory() - before
        disk = on_disk(folder)
        print(f"none has an actor: {more / num / 1e3:.1f} kB of memory and {disk / num / 1e3:.1f} kB of disk for each")
        began = time.perf_counter()
        told = await asyncio.gather(*(finish(small.greenroom, *run, places) for run in runs))
        assert told == [f"told paid {100 + number}" for number in range(num)]
        assert sorted(RECORDED) == sorted(["pay 11", *(f"pay {100 + number}" for number in range(num))])
        print(f"each was answered and has ended after {time.perf_counter() - began:.1f} s; each tool ran once")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--at-a-time", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(arguments.runs, arguments.at_a_time, Path(folder)))


if __name__ == "__main__":
    main()
