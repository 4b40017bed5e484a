"""A gateway that goes while another one listens on its address: clients go over, and lose nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from api.client import Client
from api.http.app import build_app
from api.http.server.listener import Listener
from api.settings import ApiSettings
from api.topics import TopicMessage
from tests.api.fake_cluster import FakeCluster
from tests.api.http.server.test_listener import free_port
from tests.api.toy_answers import chat_ids, continuation

GRACE_S = 7.0


class Gateways:
    """One that listens, and the one that is to replace it."""

    def __init__(self, cluster: FakeCluster) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.old, self.new = (
            Listener(build_app(cluster, ApiSettings()), "127.0.0.1", port, max_message_bytes=1 << 20, grace_s=GRACE_S)
            for _ in range(2)
        )

    async def replace(self) -> float:
        """As Serve does it; how long the old one took to go, in seconds."""
        await self.new.start()
        began = time.monotonic()
        await self.old.stop()
        return time.monotonic() - began


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def gateways(cluster: FakeCluster) -> AsyncIterator[Gateways]:
    gateways = Gateways(cluster)
    await gateways.old.start()
    yield gateways
    await gateways.new.stop()


async def test_an_answer_over_a_socket_goes_on(gateways: Gateways, cluster: FakeCluster) -> None:
    async with Client(gateways.url, patience_s=5) as client:
        session = await client.open_session()
        cluster.pace.hold()
        answer = aiter(session.generate("hello", max_tokens=6))
        pieces = []
        for _ in range(3):
            cluster.pace.allow(1)
            pieces.append(await anext(answer))
        assert await gateways.replace() < GRACE_S / 2
        cluster.pace.allow(3)
        pieces += [piece async for piece in answer]
    assert "".join(pieces) == continuation(chat_ids(("user", "hello")), 6)


async def test_a_stream_of_events_goes_on(gateways: Gateways, cluster: FakeCluster) -> None:
    async with Client(gateways.url, patience_s=5) as client, await client.subscribe("news") as subscription:
        await client.publish("news", "before")
        first = await subscription.recv(10)
        assert await gateways.replace() < GRACE_S / 2
        async with Client(gateways.url) as another:
            await another.publish("news", "after")
        second = await subscription.recv(10)
    assert [event.value for event in (first, second) if isinstance(event, TopicMessage)] == ["before", "after"]


async def test_an_answer_that_cannot_go_on_elsewhere_comes_to_its_end(gateways: Gateways, cluster: FakeCluster) -> None:
    body = {"model": "toy", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6, "stream": True}
    cluster.pace.hold()
    async with httpx.AsyncClient(base_url=gateways.url) as client:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            cluster.pace.allow(1)
            data = [await anext(lines)]
            replacing = asyncio.create_task(gateways.replace())
            assert not (await asyncio.wait({replacing}, timeout=0.5))[0], "it does not wait for this answer"
            cluster.pace.allow(5)
            data += [line async for line in lines]
        await replacing
    chunks = [json.loads(line.removeprefix("data: ")) for line in data if line.startswith("data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == continuation(chat_ids(("user", "hello")), 6)
    assert "data: [DONE]" in data
