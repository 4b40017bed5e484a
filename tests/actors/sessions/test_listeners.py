"""Those who listen to a session hear of the turns that others begin, over whatever gateway, and of each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.cluster.greenroom import Greenroom
from actors.contexts.reader import TurnReader
from actors.sessions.listeners import Heard, Listeners
from actors.sessions.ref import SessionRef
from actors.topics.ref import BrokerRef
from api.cluster import SessionOptions
from api.errors import Moved, SessionNotFound, TooBusy
from tests.actors.fake_engine import greedy
from tests.actors.sessions.test_session import collect, ids, request, until
from tests.actors.small_cluster import SmallCluster


def gateway(cluster: SmallCluster) -> Greenroom:
    """What another gateway holds: its own reader of turns, and its own references."""
    return Greenroom(cluster.directory, cluster.journal, 10.0, TurnReader(), BrokerRef(()))


@asynccontextmanager
async def listening(session: SessionRef) -> AsyncIterator[list[str]]:
    """What is heard, from now on."""
    heard: list[str] = []
    begun = await session.listen()

    async def listen() -> None:
        async for turn_id in begun:
            heard.append(turn_id)

    task = asyncio.create_task(listen())
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def all_passive(cluster: SmallCluster) -> None:
    await until(lambda: all(slot.target.tenant is None for slot in cluster.slots.values()))


async def test_a_turn_is_heard_at_another_gateway_and_read_there_from_its_first_token(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as cluster:
        mine = await cluster.greenroom.open_session(SessionOptions())
        theirs = await gateway(cluster).session(mine.session_id)
        async with listening(theirs) as heard, listening(mine) as own:
            await collect(await mine.begin(request("a", 7)))
            await until(lambda: heard == ["a"])
            assert ids(await collect(await theirs.resume("a", 0))) == greedy([7], 5)
            await collect(await theirs.begin(request("b", 8)))
            await until(lambda: own == ["b"])
        assert (heard, own) == (["a"], ["b"])


async def test_a_turn_is_heard_while_it_runs(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as cluster:
        mine = await cluster.greenroom.open_session(SessionOptions())
        theirs = await gateway(cluster).session(mine.session_id)
        async with listening(theirs) as heard:
            stream = await mine.begin(request("a", 7, count=5000))
            await until(lambda: heard == ["a"])
            assert (await theirs.describe()).running == "a"
            await stream.cancel()


async def test_listening_neither_keeps_a_session_active_nor_activates_it(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1, passivate_after_s=0.1) as cluster:
        mine = await cluster.greenroom.open_session(SessionOptions())
        theirs = await gateway(cluster).session(mine.session_id)
        async with listening(theirs) as heard:
            await all_passive(cluster)
            await asyncio.sleep(2 * SessionRef.RETRY_S[1])
            assert all(slot.target.tenant is None for slot in cluster.slots.values())
            for turn_id in "abc":
                await collect(await mine.begin(request(turn_id, 7)))
                await all_passive(cluster)
                await until(lambda turn_id=turn_id: heard[-1:] == [turn_id])
        assert heard == ["a", "b", "c"]


@pytest.mark.parametrize("what", ["session", "directory"])
async def test_a_death_is_survived_and_no_turn_is_heard_twice(tmp_path: Path, what: str) -> None:
    async with SmallCluster(tmp_path) as cluster:
        mine = await cluster.greenroom.open_session(SessionOptions())
        theirs = await gateway(cluster).session(mine.session_id)
        async with listening(theirs) as heard:
            for turn_id in "abc":
                await collect(await mine.begin(request(turn_id, 7)))
                await until(lambda turn_id=turn_id: heard[-1:] == [turn_id])
                if what == "session":
                    cluster.kill_session(mine.session_id)
                else:
                    cluster.restart_directory()
        assert heard == ["a", "b", "c"]


async def test_listening_ends_with_the_session_also_while_it_is_passive(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1, passivate_after_s=0.1) as cluster:
        for is_passive in (False, True):
            session = await cluster.greenroom.open_session(SessionOptions())
            listener = asyncio.ensure_future(anext(await session.listen()))
            await asyncio.sleep(0.02)
            if is_passive:
                await all_passive(cluster)
            await session.close()
            async with asyncio.timeout(30):
                with pytest.raises(SessionNotFound):
                    await listener


async def test_who_listens_late_hears_the_last_turn_and_who_asked_does_not_hear_it() -> None:
    listeners = Listeners(3, "before")
    assert await listeners.next(2, "me", 1.0) == Heard(3, "before")
    assert await listeners.next(3, "me", 0.01) == Heard(3)
    listeners.tell(5, "mine", "me")
    listeners.tell(9, "yours", "you")
    assert await listeners.next(3, "me", 1.0) == Heard(9, "yours")
    assert await listeners.next(3, "you", 1.0) == Heard(5, "mine")


async def test_listeners_are_bounded_and_sent_away_when_the_session_leaves() -> None:
    listeners = Listeners(0, None)
    waiting = [asyncio.create_task(listeners.next(0, f"{number}", 5.0)) for number in range(Listeners.MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy):
        await listeners.next(0, "one more", 5.0)
    listeners.stop()
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, Moved)
