"""As many processes as may be: idle sessions and inferlets give theirs back early when others need one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.pool.actor import Slot
from actors.pool.pool import SlotPool
from actors.settings import InferletSettings
from api.cluster import SessionOptions
from api.errors import TooBusy
from api.inferlet_events import Message
from api.turns import Stop, Text, TurnRequest
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster

MAX_PROCESSES = 3
ECHO = """
@inferlet
async def main(args: Args) -> str:
    send("ready")
    return await recv()
"""
BUSY = """
@inferlet
async def main(args: Args) -> None:
    send("at work")
    await asyncio.sleep(100)
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, max_processes=MAX_PROCESSES, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0, max_processes=MAX_PROCESSES) as cluster:
        yield cluster


def num_processes(cluster: SmallCluster, kind: str) -> int:
    return sum(name.startswith(kind) and not slot._died.is_set() for name, slot in cluster.slots.items())


async def test_more_idle_inferlets_than_processes_are_launched_and_each_wakes(cluster: SmallCluster) -> None:
    instances = await asyncio.gather(*(launched(cluster, ECHO) for _ in range(10)))
    for instance in instances:
        assert await instance.read(-1, 10.0) == (Message(0, "ready"),)
    assert num_processes(cluster, "inferlet") == MAX_PROCESSES
    await asyncio.gather(*(instance.send(number) for number, instance in enumerate(instances)))
    ends = [(await all_events(instance))[-1] for instance in instances]
    assert [getattr(end, "value", None) for end in ends] == list(range(10))
    assert num_processes(cluster, "inferlet") == MAX_PROCESSES


async def test_more_idle_sessions_than_processes_go_on(cluster: SmallCluster) -> None:
    async def say(number: int, turn: int) -> None:
        request = TurnRequest(f"{turn}", (Text(f"{number}"),), stop=Stop(2))
        assert [frame async for frame in await sessions[number].begin(request)][-1].finish

    sessions = [await cluster.greenroom.open_session(SessionOptions()) for _ in range(8)]
    for turn in range(2):
        for number in range(8):
            await say(number, turn)
    assert num_processes(cluster, "session") == MAX_PROCESSES
    assert [len((await session.describe()).turns) for session in sessions] == [2] * 8


async def test_programs_at_work_keep_their_processes_and_one_too_many_is_refused(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotPool, "TIMEOUT_S", 0.5)
    busy = [await launched(cluster, BUSY) for _ in range(MAX_PROCESSES)]
    with pytest.raises(TooBusy, match="3 inferlets are at work"):
        await launched(cluster, ECHO)
    await busy[0].terminate()
    again = await launched(cluster, ECHO)
    assert await again.read(-1, 10.0) == (Message(0, "ready"),)
    assert num_processes(cluster, "inferlet") == MAX_PROCESSES


async def test_a_dead_process_makes_room_for_another(cluster: SmallCluster) -> None:
    instances = [await launched(cluster, BUSY) for _ in range(MAX_PROCESSES)]
    for instance in instances:
        cluster.kill_inferlet(instance.instance_id)
    for instance in instances:
        assert await instance.read(-1, 10.0) == (Message(0, "at work"),)
    assert num_processes(cluster, "inferlet") == MAX_PROCESSES


async def test_a_process_is_watched_once_however_many_it_has_held(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_watches = 0
    real = Slot.watched

    async def watched(slot: Slot) -> None:
        nonlocal num_watches
        num_watches += 1
        await real(slot)

    monkeypatch.setattr(Slot, "watched", watched)
    for instance in [await launched(cluster, ECHO) for _ in range(10)]:
        await instance.send("done")
        await all_events(instance)
    assert num_watches == len(cluster.slots) < 10


async def test_an_owner_has_its_share_of_the_processes_and_its_idle_ones_make_room_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotPool, "TIMEOUT_S", 0.5)
    settings = InferletSettings(pool_size=0, max_processes=4, max_processes_per_owner=2, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        idle = await asyncio.gather(*(launched(cluster, ECHO, owner="ada") for _ in range(5)))
        for instance in idle:
            assert await instance.read(-1, 10.0) == (Message(0, "ready"),)
        assert num_processes(cluster, "inferlet") == 2
        busy = [await launched(cluster, BUSY, owner="ada") for _ in range(2)]
        with pytest.raises(TooBusy, match="2 of your inferlets are at work"):
            await launched(cluster, ECHO, owner="ada")
        with pytest.raises(TooBusy):
            await idle[0].send("wakes it, and finds no process")
        others = [await launched(cluster, BUSY, owner="grace") for _ in range(2)]
        for instance in (*busy, *others):
            assert await instance.read(-1, 10.0) == (Message(0, "at work"),)
        assert num_processes(cluster, "inferlet") == 4


async def test_many_waiting_launches_of_an_owner_ask_its_processes_no_more_often_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotPool, "TIMEOUT_S", 1.0)
    num_asked = 0
    real = Slot.leave

    async def leave(slot: Slot) -> None:
        nonlocal num_asked
        num_asked += 1
        await real(slot)

    monkeypatch.setattr(Slot, "leave", leave)
    settings = InferletSettings(pool_size=0, max_processes=4, max_processes_per_owner=2, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        for _ in range(2):
            await launched(cluster, BUSY, owner="ada")
        launches = [launched(cluster, ECHO, owner="ada") for _ in range(20)]
        refused = await asyncio.gather(*launches, return_exceptions=True)
        assert all(isinstance(one, TooBusy) for one in refused)
        assert num_asked <= 2 * (1 + SlotPool.TIMEOUT_S / SlotPool.ASK_AGAIN_S)


class Frozen:
    """An actor on a node that has lost its power: nothing that is asked of it returns, and nobody says that it died."""

    tenant = None

    async def _never(self, *arguments: object) -> None:
        await asyncio.Event().wait()

    assign = ready = watched = leave = _never


async def test_an_actor_that_does_not_answer_keeps_no_caller_waiting_while_another_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotPool, "SILENCE_S", 0.05)
    monkeypatch.setattr(SlotPool, "ANSWER_S", 0.05)
    async with SmallCluster(tmp_path, pool_size=3) as cluster:
        await (await cluster.greenroom.open_session(SessionOptions())).close()
        frozen = [slot for slot in cluster.slots.values() if slot.name.startswith("session")]
        async with asyncio.timeout(30):
            while len(frozen) < 3:
                await asyncio.sleep(0.01)
                frozen = [slot for slot in cluster.slots.values() if slot.name.startswith("session")]
        for slot in frozen:
            slot.target = Frozen()
        async with asyncio.timeout(30):
            session = await cluster.greenroom.open_session(SessionOptions())
            assert (await session.describe()).turns == ()
        assert all(slot._died.is_set() for slot in frozen), "they are ended, should they live after all"


async def test_an_assignment_may_take_long_while_its_actor_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotPool, "SILENCE_S", 0.01)
    real = Slot.assign

    async def slowly(slot: Slot, tenant_id: str, seed: object, settings: object) -> str:
        await asyncio.sleep(0.2)
        return await real(slot, tenant_id, seed, settings)

    monkeypatch.setattr(Slot, "assign", slowly)
    async with SmallCluster(tmp_path, pool_size=1) as cluster:
        await cluster.greenroom.open_session(SessionOptions())
        assert not any(slot._died.is_set() for slot in cluster.slots.values())


async def test_actors_that_were_started_with_something_else_are_replaced_once_they_are_free(
    cluster: SmallCluster,
) -> None:
    pool = cluster._directory.target._sessions.pool
    pool.resize(1, MAX_PROCESSES)
    session = await cluster.greenroom.open_session(SessionOptions())
    await until_free(pool, 1)
    before = set(cluster.slots)
    pool.renew()
    await until_free(pool, 1)
    assert {slot.name for slot in pool._free}.isdisjoint(before)
    assert (await session.describe()).length == 0, "the one that is held goes on"
    await session.close()
    await until_free(pool, 1)
    assert {name for name, slot in cluster.slots.items() if not slot._died.is_set()}.isdisjoint(before)


async def test_an_actor_that_starts_while_they_are_replaced_is_replaced_too(cluster: SmallCluster) -> None:
    directory = cluster._directory.target
    await directory.start()
    pool = directory._sessions.pool
    begun, go_on, names = asyncio.Event(), asyncio.Event(), []
    spawn = pool._spawn

    async def slow(name: str) -> Any:
        names.append(name)
        begun.set()
        await go_on.wait()
        return await spawn(name)

    pool._spawn = slow
    pool.resize(1, MAX_PROCESSES)
    await begun.wait()
    pool.renew()
    go_on.set()
    await until_free(pool, 1)
    assert [slot.name for slot in pool._free] == names[1:]


async def until_free(pool: SlotPool, number: int) -> None:
    async with asyncio.timeout(30):
        while len(pool._free) != number or pool._is_filling:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
