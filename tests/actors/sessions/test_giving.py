"""Giving a session to another owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from api.cluster import SessionHandle, SessionOptions
from api.errors import InUse, SessionNotFound
from api.turns import Stop, Text, TurnRequest
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path) as cluster:
        yield cluster


async def say(session: SessionHandle, turn_id: str) -> str:
    request = TurnRequest(turn_id, (Text("hello"),), stop=Stop(4))
    return "".join([frame.text async for frame in await session.begin(request)])


async def give(cluster: SmallCluster, session_id: str, owner: str) -> None:
    """Once it has been idle for as long as it must."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await cluster.directory.give(session_id, owner)
            except InUse:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("has_lost_its_actor", [False, True])
async def test_a_session_of_nobody_becomes_an_owners_with_its_turns(
    cluster: SmallCluster, has_lost_its_actor: bool
) -> None:
    opened = await cluster.greenroom.open_session(SessionOptions())
    said = await say(opened, "one")
    if has_lost_its_actor:
        cluster.kill_session(opened.session_id)
    for owner in ("eve", "ada"):  # the second time it is passive
        await give(cluster, opened.session_id, owner)
        assert [one.owner for one in await cluster.directory.sessions(None)] == [owner]
    for other in ("", "eve"):
        with pytest.raises(SessionNotFound):
            await cluster.greenroom.session(opened.session_id, other)
    session = await cluster.greenroom.session(opened.session_id, "ada")
    assert [turn.text for turn in (await session.describe()).turns] == [said]
    assert await say(session, "two")
    assert len((await session.describe()).turns) == 2
    cluster.restart_directory()
    assert len((await (await cluster.greenroom.session(opened.session_id, "ada")).describe()).turns) == 2


async def test_a_session_at_work_is_not_given(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    stream = await session.begin(TurnRequest("long", (Text("hello"),), stop=Stop(1000)))
    await anext(aiter(stream))
    with pytest.raises(InUse, match="is at work: try again"):
        await cluster.directory.give(session.session_id, "ada")
    await session.cancel()
    assert [one.owner for one in await cluster.directory.sessions(None)] == [""]


async def test_there_must_be_a_session_to_give(cluster: SmallCluster) -> None:
    with pytest.raises(SessionNotFound):
        await cluster.directory.give("0" * 32, "ada")
