"""A disk without room: what callers are told, and that nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from actors.calls.started import Started
from actors.inferlets.ref import InferletRef
from actors.journal.sqlite import SqliteJournal
from api.cluster import SessionOptions
from api.errors import GreenroomError, Unavailable
from api.inferlet_events import Completed, Message
from tests.actors.fake_engine import greedy
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.journal.small_disk import SmallDisk, small_disk
from tests.actors.sessions.test_session import collect, ids, request
from tests.actors.small_cluster import SmallCluster

TIMEOUT_S = 1.0
FULL = "database or disk is full"
KILOBYTES = "x" * 40_000

ECHO = """
@inferlet
async def main(args: Args) -> int:
    count = 0
    while (message := await recv()) != "exit":
        count += 1
        await send(message[:10])
    return count
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
async def cluster(disk: SmallDisk) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(disk.folder, pool_size=0, recovery_timeout_s=TIMEOUT_S) as cluster:
        yield cluster
        disk.make_room()


async def test_the_reason_is_that_of_sqlite_and_writes_go_on_when_there_is_room(disk: SmallDisk) -> None:
    journal = SqliteJournal(disk.folder / "journal.db", "FULL")
    await journal.start()
    await journal.create("key", "", "", (b"first",), None)
    disk.fill()
    with pytest.raises(Unavailable, match=FULL):
        await journal.append("key", 1, 1, (KILOBYTES.encode(),) * 100, None)
    assert await journal.get_item("space", "name") is None, "what needs no room is answered"
    disk.make_room()
    await journal.append("key", 1, 1, (b"second",), None)
    assert (await journal.acquire("key")).records == (b"first", b"second")
    await journal.stop()


async def test_an_inferlet_answers_in_time_and_loses_nothing(cluster: SmallCluster, disk: SmallDisk) -> None:
    instance = await launched(cluster, ECHO)
    await instance.send("before")
    disk.fill()
    refused = await until_refused(instance)
    with pytest.raises(Unavailable, match=FULL):
        await launched(cluster, ECHO + f"text = {KILOBYTES * 2!r}")
    began = time.monotonic()
    with pytest.raises(Unavailable, match=FULL):
        await instance.terminate()
    assert time.monotonic() - began < TIMEOUT_S + 10
    disk.make_room()
    events = await all_events(instance)
    texts = [event.value for event in events if isinstance(event, Message)]
    assert texts[: 1 + refused] == ["before"] + ["x" * 10] * refused


async def test_a_message_that_was_not_accepted_is_taken_once_when_there_is_room(
    cluster: SmallCluster, disk: SmallDisk
) -> None:
    instance = await launched(cluster, ECHO)
    disk.fill()
    refused = await until_refused(instance)
    disk.make_room()
    assert await instance.send(KILOBYTES, f"key {refused}") == refused
    await instance.send("exit")
    assert (await all_events(instance))[-1] == Completed(refused + 1, refused + 1)


async def test_a_session_answers_in_time_and_goes_on_when_there_is_room(cluster: SmallCluster, disk: SmallDisk) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    first = ids(await collect(await session.begin(request("before", 7))))
    disk.fill()

    async def go_on() -> None:
        for number in range(1000):
            async with asyncio.timeout(TIMEOUT_S + 5):
                more = await collect(await session.begin(request(f"{number}", 7)))
            first.extend([7, *ids(more)])

    with pytest.raises(GreenroomError, match=FULL):
        await go_on()
    disk.make_room()
    assert ids(await collect(await session.begin(request("after", 9)))) == greedy([7, *first, 9], 5)


async def test_a_turn_whose_end_finds_the_disk_full_is_answered_in_time_and_lost_by_nobody(
    cluster: SmallCluster, disk: SmallDisk
) -> None:
    cluster.engines[0].step_s = 0.005
    session = await cluster.greenroom.open_session(SessionOptions())
    stream = aiter(await session.begin(request("a", 7, count=60)))
    await anext(stream)
    disk.fill()

    async def go_on() -> None:
        async with asyncio.timeout(TIMEOUT_S + 5):
            async for _ in stream:
                pass
            for _ in range(1000):
                await session.rename(KILOBYTES[:200])

    with pytest.raises(GreenroomError, match=FULL):
        await go_on()
    disk.make_room()
    assert ids(await collect(await session.resume("a", 0))) == greedy([7], 60)
    assert [turn.turn_id for turn in (await session.describe()).turns] == ["a"]


async def until_refused(instance: InferletRef) -> int:
    """Send until the disk is full; how many were accepted before. Each is answered in time."""
    for number in range(1000):
        began = time.monotonic()
        (answer,) = await asyncio.gather(instance.send(KILOBYTES, f"key {number}"), return_exceptions=True)
        assert time.monotonic() - began < TIMEOUT_S + 10
        if not isinstance(answer, int):
            assert isinstance(answer, Unavailable), answer
            assert FULL in str(answer)
            return number
    raise AssertionError("the disk is not full")


@pytest.mark.parametrize("damage", ["garbage", "cut"])
async def test_a_damaged_journal_names_its_file_and_the_way_out(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, "NORMAL")
    await journal.start()
    for number in range(20):
        await journal.create(f"key {number}", "", "", (KILOBYTES.encode(),), None)
    await journal.stop()
    data = path.read_bytes()
    path.write_bytes(b"no database" * 1000 if damage == "garbage" else data[: len(data) // 2])
    damaged = SqliteJournal(path, "NORMAL")
    with pytest.raises(Unavailable) as caught:
        await read_all(damaged)
    sentence = str(caught.value)
    assert f"the journal {path} is damaged" in sentence
    assert f"sqlite3 {path} .recover" in sentence
    for file in list(tmp_path.glob("journal.db*")):  # noqa: ASYNC240
        file.unlink()
    anew = SqliteJournal(path, "NORMAL")
    await anew.start()
    assert await anew.streams() == ()
    await anew.stop()
    damaged._thread.shutdown()


async def read_all(journal: SqliteJournal) -> None:
    await journal.start()
    for number in range(20):
        await journal.acquire(f"key {number}")


async def test_a_start_that_failed_is_tried_again_by_the_next_caller() -> None:
    tries: list[int] = []

    async def start() -> None:
        tries.append(len(tries))
        await asyncio.sleep(0)
        if len(tries) == 1:
            raise sqlite3.OperationalError(FULL)

    started = Started(start)
    first = await asyncio.gather(started(), started(), return_exceptions=True)
    assert [type(error) for error in first] == [sqlite3.OperationalError] * 2
    await asyncio.gather(started(), started())
    await started()
    assert tries == [0, 1]
