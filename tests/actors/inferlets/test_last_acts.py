"""What a program does last, and does not wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.settings import InferletSettings
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, inferlets=settings, topics=broker.ref(), pool_size=0) as cluster:
            yield cluster


@pytest.mark.parametrize("end", ["return", "raise ValueError"])
async def test_what_was_pushed_and_broadcast_last_is_not_lost(cluster: SmallCluster, end: str) -> None:
    instance = await launched(
        cluster,
        f"""
        @inferlet
        async def main(args: Args) -> None:
            for number in range(20):
                push(number, "queue")
                broadcast(number, "topic")
            {end}
        """,
    )
    await all_events(instance)
    assert cluster.topics is not None
    assert [queue.num_ready for queue in await cluster.topics.queues("")] == [20]
    assert [topic.end for topic in await cluster.topics.topics("")] == [20]
