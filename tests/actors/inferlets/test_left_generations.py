"""Generations that are cancelled or left, and the next one on the same context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from api.inferlet_events import Completed, Event, Failed
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster

HEAD = """
import contextlib

async def read(context, num_pieces=1 << 30):
    async for piece in context.generate(stop=max_len(500)):
        num_pieces -= 1
        if not num_pieces:
            break

@inferlet
async def main(args: Args) -> object:
    context = get_auto_model().create_context()
    context.fill("abc")
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=0) as cluster:
        yield cluster


async def end_of(cluster: SmallCluster, body: str) -> Event:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return (await all_events(await launched(cluster, HEAD + lines)))[-1]


WAYS = ("context.generate(stop=max_len(500))", "read(context)", "context.next_distribution(2)")


@pytest.mark.parametrize("way", WAYS)
async def test_a_generation_right_after_a_cancelled_one_waits_for_its_end(cluster: SmallCluster, way: str) -> None:
    """Six programs at once, each cancelled at another moment of its turn, twice in a row, over and over."""
    cluster.engines[0].step_s = 0.004
    body = f"""
async def cancelled():
    await {way}

for number in range(20):
    for delay in (number * 7 + int(args.argv[0])) % 9, number % 4:
        context.rollback(3)
        generating = asyncio.create_task(cancelled())
        await asyncio.sleep(0.0008 * delay)
        generating.cancel()
        await asyncio.gather(generating, return_exceptions=True)
    context.rollback(3)
    text = await context.generate(stop=max_len(2))
    assert len(text) > 1
return text
"""
    source = HEAD + "".join(f"    {line}\n" for line in body.strip().splitlines())
    running = [await launched(cluster, source, str(number)) for number in range(6)]
    ends = [(await all_events(instance))[-1] for instance in running]
    assert all(isinstance(end, Completed) for end in ends), ends
    assert len({str(end) for end in ends}) == 1


async def test_a_reader_that_was_left_ends_by_itself(cluster: SmallCluster) -> None:
    body = """
for _ in range(3):
    await read(context, 2)
    num_tokens = context.length
    await context.generate(stop=max_len(2))
    assert context.length == num_tokens + 2
return num_tokens
"""
    assert await end_of(cluster, body) == Completed(0, 3 + 2 + 2 * 4)


UNFINISHED = {
    "by this task": """
pieces = aiter(context.generate(stop=max_len(500)))
await anext(pieces)
""",
    "by a task that has ended": """
kept = []
async def begin():
    kept.append(aiter(context.generate(stop=max_len(500))))
    await anext(kept[0])
await asyncio.create_task(begin())
""",
    "by a task that ends meanwhile": """
kept = []
async def begin():
    kept.append(aiter(context.generate(stop=max_len(500))))
    await anext(kept[0])
    await asyncio.sleep(0.05)
beginning = asyncio.create_task(begin())
await asyncio.sleep(0.02)
""",
}
NEXT = {
    "generate": "await context.generate(stop=max_len(2))",
    "read": "await read(context)",
    "flush": "context.fill('d')\nawait context.flush()",
    "next_distribution": "await context.next_distribution(2)",
}


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize("left", UNFINISHED)
async def test_an_unfinished_reader_is_told_of_in_the_line_that_would_wait_for_ever(
    cluster: SmallCluster, left: str, following: str
) -> None:
    async with asyncio.timeout(30):
        end = await end_of(cluster, UNFINISHED[left] + NEXT[following])
    assert isinstance(end, Failed)
    assert "an earlier generation on this context is not read to its end" in end.error
    assert NEXT[following].splitlines()[-1] in end.error


async def test_a_reader_that_is_closed_or_read_on_blocks_nothing(cluster: SmallCluster) -> None:
    body = """
async with contextlib.aclosing(aiter(context.generate(stop=max_len(500)))) as pieces:
    await anext(pieces)
await context.generate(stop=max_len(2))

async def slowly():
    async for piece in context.generate(stop=max_len(5)):
        await asyncio.sleep(0.01)

reading = asyncio.create_task(slowly())
await asyncio.sleep(0.005)
await context.generate(stop=max_len(2))
assert reading.done() or context.length == 3 + 1 + 2 + 5 + 2
await reading
return context.length
"""
    assert await end_of(cluster, body) == Completed(0, 3 + 1 + 2 + 5 + 2)


async def test_a_turn_that_stops_waiting_for_a_reader_lets_the_next_one_go(cluster: SmallCluster) -> None:
    body = """
async def slowly():
    async for piece in context.generate(stop=max_len(5)):
        await asyncio.sleep(0.01)

reading = asyncio.create_task(slowly())
await asyncio.sleep(0.005)
waiting = [asyncio.create_task(context.flush()) for _ in range(3)]
await asyncio.sleep(0)
waiting[0].cancel()
await reading
waiting[1].cancel()
await asyncio.gather(*waiting, return_exceptions=True)
return len(await context.generate(stop=max_len(2))) > 0
"""
    assert await end_of(cluster, body) == Completed(0, True)
