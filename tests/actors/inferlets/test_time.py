"""Programs that wait for the clock, and die: time that has passed once does not pass again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.ref import InferletRef
from actors.settings import InferletSettings
from api.inferlet_events import Completed, Message
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, replay_timeout_s=20, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        yield cluster


async def heard(instance: InferletRef, count: int) -> list[object]:
    """Its first messages."""
    found: list[object] = []
    async with asyncio.timeout(30):
        async for event in instance.events():
            found += [event.value] if isinstance(event, Message) else []
            if len(found) == count:
                break
    return found


SLEEPER = """
@inferlet
async def main(args: Args) -> None:
    for number in range(3):
        await asyncio.sleep(0.6)
        send(await store_get("key") or number)
    send(await recv())
"""
PATIENT = """
@inferlet
async def main(args: Args) -> None:
    for number in range(3):
        try:
            async with asyncio.timeout(0.6):
                await recv()
        except TimeoutError:
            send(number)
    send(await recv())
"""
THREADED = """
import time
@inferlet
async def main(args: Args) -> None:
    for number in range(3):
        async with asyncio.timeout(30):
            send([number, await asyncio.to_thread(lambda: time.sleep(0.05)), await store_get("key")])
    send(await recv())
"""


@pytest.mark.parametrize("source", [SLEEPER, PATIENT])
async def test_what_was_slept_is_not_slept_again(cluster: SmallCluster, source: str) -> None:
    instance, expected = await launched(cluster, source), [0, 1, 2]
    assert await heard(instance, 3) == expected
    cluster.kill_inferlet(instance.instance_id)
    began = time.monotonic()
    await instance.send("awake")
    assert await heard(instance, 4) == [*expected, "awake"]
    assert time.monotonic() - began < 1.8, "as long as it had slept before"
    assert (await all_events(instance))[-1] == Completed(4, None)


async def test_time_is_not_put_forward_while_a_thread_works(cluster: SmallCluster) -> None:
    instance = await launched(cluster, THREADED)
    expected = [[number, None, None] for number in range(3)]
    assert await heard(instance, 3) == expected
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("awake")
    assert await heard(instance, 4) == [*expected, "awake"]


@pytest.mark.parametrize("num_ticks", [0, 1, 2, 3])
async def test_a_message_comes_again_between_the_same_ticks_of_a_clock(cluster: SmallCluster, num_ticks: int) -> None:
    instance = await launched(
        cluster,
        """
        async def tick():
            for number in range(3):
                await asyncio.sleep(0.15)
                send(number)

        @inferlet
        async def main(args: Args) -> None:
            ticking = asyncio.create_task(tick())
            send(await recv())
            await ticking
            send(await recv())
        """,
    )
    if num_ticks:
        await heard(instance, num_ticks)
    await instance.send("between")
    first = await heard(instance, 4)
    assert [each for each in first if each != "between"] == [0, 1, 2]
    assert first.index("between") >= num_ticks, "later where the machine is busy"
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("last")
    assert await heard(instance, 5) == [*first, "last"]
