"""Whatever way a program leaves a queue, its items are there for others at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from actors.inferlets.ref import InferletRef
from api.inferlet_events import Completed
from api.names import TopicId
from api.queues import QueueInfo
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

WORK = TopicId("work")

WORKER = """
@inferlet
async def main(args: Args) -> list:
    send("pulls")
    item = await pull("work")
    send(item.value)
    await recv()
    await item.ack()
    return [item.value, item.num_deliveries]
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, topics=broker.ref(), pool_size=0) as cluster:
            yield cluster


async def until_queue(cluster: SmallCluster, ready: int, held: int, waiting: int) -> None:
    """Well before any lease ends, and before a silent process is taken for dead."""
    assert cluster.topics is not None
    async with asyncio.timeout(30):
        while [_counts(info) for info in await cluster.topics.queues("")] != [(ready, held, waiting)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _counts(info: QueueInfo) -> tuple[int, int, int]:
    return info.num_ready, info.num_held, info.num_waiting


async def test_a_pull_that_is_given_up_leaves_the_next_item(cluster: SmallCluster) -> None:
    source = """
    @inferlet
    async def main(args: Args) -> list:
        found = []
        for number in range(5):
            try:
                await asyncio.wait_for(pull("work"), 0.02)
            except TimeoutError:
                pass
            push(f"first {number}", "work")
            push(f"second {number}", "work")
            found += [(await pull("work", 5)).value for _ in range(2)]
        return found
    """
    expected = [f"{which} {number}" for number in range(5) for which in ("first", "second")]
    assert (await all_events(await launched(cluster, source)))[-1] == Completed(0, expected)


async def test_a_gather_that_is_cancelled_takes_nothing_with_it(cluster: SmallCluster) -> None:
    source = """
    @inferlet
    async def main(args: Args) -> list:
        for _ in range(5):
            try:
                async with asyncio.timeout(0.02):
                    await asyncio.gather(*(pull("work") for _ in range(4)))
            except TimeoutError:
                pass
        pushed = [push(number, "work") for number in range(8)]
        pulling = [asyncio.create_task(pull("work")) for _ in range(4)]
        await pushed[-1]
        for task in pulling:
            task.cancel()
        ended = await asyncio.gather(*pulling, return_exceptions=True)
        had = [item for item in ended if not isinstance(item, BaseException)]
        for item in had:
            await item.release()
        return [(await pull("work", 5)).value for _ in range(8)]
    """
    assert (await all_events(await launched(cluster, source)))[-1] == Completed(0, list(range(8)))


async def test_what_a_program_has_or_waits_for_is_free_when_it_is_terminated(cluster: SmallCluster) -> None:
    assert cluster.topics is not None
    first, second = await launched(cluster, WORKER), await launched(cluster, WORKER)
    await until_queue(cluster, 0, 0, 2)
    await cluster.topics.push(WORK, "a")
    await until_queue(cluster, 0, 1, 1)
    await asyncio.gather(first.terminate(), second.terminate())
    await until_queue(cluster, 1, 0, 0)
    assert (await cluster.topics.pull(WORK, timeout_s=0)).value == "a"


async def test_what_a_program_did_not_acknowledge_is_free_when_it_fails(cluster: SmallCluster) -> None:
    assert cluster.topics is not None
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            await pull("work")
            raise ValueError("no")
        """,
    )
    await cluster.topics.push(WORK, "a")
    await all_events(instance)
    await until_queue(cluster, 1, 0, 0)


async def test_a_program_whose_process_died_goes_on_with_the_item_that_it_was_given(cluster: SmallCluster) -> None:
    """Its item is neither lost nor waits for the end of the lease, though the death came before its record."""
    assert cluster.topics is not None
    instance = await launched(cluster, WORKER)
    assert await messages(instance, 1) == ["pulls"]
    await until_queue(cluster, 0, 0, 1)
    await _killed_as_it_is_given(cluster, instance)
    assert await messages(instance, 1, after=0) == ["a"]
    await instance.send("go on")
    assert (await all_events(instance, 1))[-1] == Completed(2, ["a", 1])
    assert _counts((await cluster.topics.queues(""))[0]) == (0, 0, 0)


async def _killed_as_it_is_given(cluster: SmallCluster, instance: InferletRef) -> None:
    assert cluster.topics is not None
    pushing = cluster.topics.push(WORK, "a")
    async with asyncio.timeout(30):
        while not [info for info in await cluster.topics.queues("") if info.num_held]:  # noqa: ASYNC110
            await asyncio.sleep(0)
    cluster.kill_inferlet(instance.instance_id)
    await pushing
