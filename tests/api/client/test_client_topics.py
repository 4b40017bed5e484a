"""The Python client's topics, over real sockets and connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from api.client import Client
from api.errors import Closed, InvalidRequest, TooBusy, TopicNotFound, Unavailable
from api.http.app import build_app
from api.names import TopicId
from api.settings import ApiSettings
from api.topics import Cursor, Lagged, NewEpoch, TopicMessage
from api.values import Value
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def server(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings())) as base_url:
        yield base_url


@pytest.fixture
async def client(server: str) -> AsyncIterator[Client]:
    async with Client(server, patience_s=5) as client:
        yield client


async def test_what_is_published_arrives_as_it_was(client: Client) -> None:
    values: list[Value] = ["grüße\nzwei", b"\x00\xff", {"a": [1, None]}, 3, None]
    async with await client.subscribe("a/b c?ü") as subscription:
        for index, value in enumerate(values):
            published = await client.publish("a/b c?ü", value)
            assert (published.position, published.num_subscribers) == (index, 1)
        events = [await subscription.recv(60) for _ in values]
    assert [event.value for event in events if isinstance(event, TopicMessage)] == values
    assert [(info.topic.name, info.end) for info in await client.topics()] == [("a/b c?ü", len(values))]


async def test_connections_that_break_at_any_byte_lose_and_repeat_nothing(server: str, cluster: FakeCluster) -> None:
    async with proxying(server) as (url, proxy), Client(url, patience_s=5) as client:
        for index in range(50):
            await cluster.topics.publish(TopicId("news"), f"message {index}")
        proxy.limits = [700, 1200, 333, 901, 900, 1, 450, 1111, 640, 700]
        async with await client.subscribe("news") as subscription:
            events = [await subscription.recv(60) for _ in range(50)]
    assert proxy.num_cut == 10
    assert [event.position for event in events] == list(range(50))
    assert subscription.cursor == Cursor("e1", 49)


async def test_without_replay_nothing_is_missed_from_the_subscription_on(
    server: str, cluster: FakeCluster, client: Client
) -> None:
    await client.publish("news", "old")
    async with await client.subscribe("news", replay=False) as subscription:
        await client.publish("news", "new")
        event = await subscription.recv(60)
    assert isinstance(event, TopicMessage)
    assert event.value == "new"


async def test_what_is_missing_is_told(client: Client, cluster: FakeCluster) -> None:
    for index in range(3):
        await client.publish("news", index)
    cluster.topics.first = 2
    async with await client.subscribe("news", after=Cursor("e1", -1)) as subscription:
        assert await subscription.recv(60) == Lagged(2, 1, "e1")
        assert (await subscription.recv(60)).position == 2
        await cluster.topics.begin_anew()
        assert await subscription.recv(60) == NewEpoch("e1+", -1)


async def test_calls_that_time_out_or_are_cancelled_lose_nothing(client: Client) -> None:
    got = []
    async with await client.subscribe("news") as subscription:
        for index in range(30):
            receiving = asyncio.create_task(subscription.recv(0.0001 * index))
            await client.publish("news", index)
            receiving.cancel()
            try:
                got.append(await receiving)
            except (asyncio.CancelledError, TimeoutError):
                pass
        got += [await subscription.recv(60) for _ in range(30 - len(got))]
    assert [event.position for event in got] == list(range(30))


async def test_a_loop_ends_when_its_subscription_is_closed(client: Client) -> None:
    subscription = await client.subscribe("news")
    await client.publish("news", "a")
    positions = []
    async for event in subscription:
        positions.append(event.position)
        await subscription.close()
    assert positions == [0]
    with pytest.raises(Closed):
        await subscription.recv()


async def test_errors_are_the_servers(client: Client, cluster: FakeCluster) -> None:
    with pytest.raises(InvalidRequest, match="256 characters"):
        await client.publish("a" * 257, "x")
    cluster.topics.refusal = TooBusy("full")
    with pytest.raises(TooBusy, match="full"):
        await client.publish("news", "x")


async def test_a_server_that_is_gone_for_good_is_an_error_not_silence(cluster: FakeCluster) -> None:
    async with AsyncExitStack() as server:
        url = await server.enter_async_context(serving(build_app(cluster, ApiSettings()), grace_s=0.05))
        async with Client(url, patience_s=0.2) as client, await client.subscribe("news") as subscription:
            await server.aclose()
            with pytest.raises(Unavailable):
                await subscription.recv(60)


async def test_a_subscription_that_is_refused_says_why(client: Client, cluster: FakeCluster) -> None:
    with pytest.raises(InvalidRequest):
        await client.subscribe("a\nb")


async def test_who_reads_a_topic_that_is_deleted_gets_a_clear_end(client: Client) -> None:
    await client.publish("a/b", "last")
    async with await client.subscribe("a/b") as subscription:
        assert (await subscription.recv(60)).position == 0
        await client.delete_topic("a/b")
        for _ in range(2):
            with pytest.raises(TopicNotFound, match="'a/b' was deleted"):
                await subscription.recv(60)
    with pytest.raises(TopicNotFound):
        await client.delete_topic("a/b")
