"""Several sockets to one session: each hears of every turn once, whoever began it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from api.client import Client
from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.session_client import Sent, Wire, new_session, text_of, wire_to
from tests.api.toy_answers import chat_ids, continuation

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
EXPECTED = continuation(chat_ids(("user", "hello")), 20)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def servers(cluster: FakeCluster) -> AsyncIterator[list[str]]:
    """Two gateways of one cluster."""
    async with AsyncExitStack() as stack:
        apps = [build_app(cluster, ApiSettings()) for _ in range(2)]
        yield [await stack.enter_async_context(serving(app)) for app in apps]


async def silence(wire: Wire) -> None:
    """What the server sends before it answers a ping is nothing."""
    await wire.send(type="ping")
    assert await wire.receive() == {"type": "pong"}


def without_residency(message: Sent) -> Sent:
    return {name: value for name, value in message.items() if name not in ("resident_tokens", "usage")}


async def test_every_socket_gets_the_whole_turn_once(servers: list[str], cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with AsyncExitStack() as stack:
        first, *others = [
            await stack.enter_async_context(wire_to(server, session_id))
            for server in (servers[0], *servers, servers[1])
        ]
        for wire in others:
            await silence(wire)
        for turn_id in ("a", "b"):
            await first.send(type="generate", turn_id=turn_id, messages=HELLO, max_tokens=20)
            mine = await first.until("finished")
            for wire in others:
                theirs = await wire.until("finished")
                assert text_of(theirs) == text_of(mine)
                assert [without_residency(theirs[at]) for at in (0, -1)] == [
                    without_residency(mine[at]) for at in (0, -1)
                ]
        for wire in (first, *others):
            await silence(wire)
    assert len(cluster.turns) == 2


async def test_the_turn_is_told_of_when_it_begins(servers: list[str], cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with wire_to(servers[0], session_id) as one, wire_to(servers[1], session_id) as other:
        await silence(other)
        cluster.pace.hold()
        await one.send(type="generate", turn_id="a", messages=HELLO, max_tokens=20)
        assert (await other.receive())["type"] == "started"
        cluster.pace.allow(5)
        assert (await other.receive())["text"] == EXPECTED[:1]
        await other.send(type="cancel", turn_id="a")
        *_, finished = await one.until("finished")
        assert finished["reason"] == "cancelled"


async def test_a_socket_that_asks_for_a_turn_it_hears_gets_it_from_where_it_asked(
    servers: list[str], cluster: FakeCluster
) -> None:
    session_id = await new_session(cluster)
    async with wire_to(servers[0], session_id) as one, wire_to(servers[1], session_id) as other:
        await silence(other)
        cluster.pace.hold()
        await one.send(type="generate", turn_id="a", messages=HELLO, max_tokens=20)
        cluster.pace.allow(5)
        await other.until("tokens")
        await other.send(type="resume", turn_id="a", offset=3)
        await other.until("started")
        cluster.pace.release()
        rest = await other.until("finished")
        assert text_of(rest) == EXPECTED[3:]
        assert text_of(await one.until("finished")) == EXPECTED
        await silence(other)


async def test_a_socket_may_want_its_own_turns_only_as_the_python_client_does(
    servers: list[str], cluster: FakeCluster
) -> None:
    session_id = await new_session(cluster)
    async with wire_to(servers[0], f"{session_id}?turns=own") as own, Client(servers[1]) as client:
        await silence(own)
        assert await client.session(session_id).generate("hello", max_tokens=20) == EXPECTED
        async with wire_to(servers[0], session_id) as other:
            await silence(other)
            await other.send(type="generate", messages=HELLO, max_tokens=20)
            await other.until("finished")
        await silence(own)
        (idle,) = client._server._idle.values()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await idle.recv()


async def test_a_socket_that_only_listens_is_closed_when_the_session_is(
    servers: list[str], cluster: FakeCluster
) -> None:
    session_id = await new_session(cluster)
    async with wire_to(servers[0], session_id) as wire:
        await silence(wire)
        await cluster.open_sessions[session_id].close()
        assert (await wire.receive())["code"] == "session_not_found"
        assert await wire.close_code() == 4404
