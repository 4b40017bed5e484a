"""Journals that are copied from place to place have the same rows; what is wrong with one is found."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.journal.contract import IndexEntry
from actors.journal.copies import copy, faults, open_rows
from actors.journal.cuts import Cut
from actors.journal.rows import TABLES
from actors.journal.stores import files_of, lock_of, store_of
from actors.settings import JournalSettings
from api.errors import InvalidRequest, Unavailable

Place = Callable[[], JournalSettings]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Another one of this kind with each call."""
    names = iter("abcdef")
    if request.param == "sqlite":
        return lambda: JournalSettings(str(tmp_path / f"{next(names)}.db"))
    server = request.getfixturevalue("server")
    return lambda: JournalSettings(url=server.new_database())


async def fill(settings: JournalSettings, num_streams: int = 700) -> None:
    """With streams that have another epoch, listing, entries, and items; and topics."""
    for part, store in (("journal", store_of(settings)), ("topics", store_of(settings, "topics"))):
        await store.start()
        await asyncio.gather(
            *(store.create(f"{part}{n}", "ann", "m", [b"%d" % n, b"\0\xff"], n or None) for n in range(num_streams))
        )
        await store.acquire(f"{part}3")
        await store.append(f"{part}4", 1, 2, [b"x"], 7.5, None, [IndexEntry("e", 1.5, "new", b"\1")])
        await store.put_item("s", "\N{SNOWMAN}", b"\2")
        await store.stop()


async def all_rows(settings: JournalSettings) -> dict[str, list[Any]]:
    async with open_rows(settings, is_read_only=True) as stores:
        return {
            f"{name}.{table}": [row async for batch in rows.read(table) for row in batch]
            for name, rows in stores.items()
            for table in TABLES
        }


async def test_a_copy_has_the_same_rows_and_opens(place: Place, tmp_path: Path) -> None:
    source, back = JournalSettings(str(tmp_path / "source.db")), JournalSettings(str(tmp_path / "back.db"))
    there = place()
    await fill(source)
    counts = await copy(source, there, is_source_in_use=False)
    expected = await all_rows(source)
    assert counts == {name: len(rows) for name, rows in expected.items()}
    assert await all_rows(there) == expected
    await copy(there, back, is_source_in_use=False)
    assert await all_rows(back) == expected
    store = store_of(back)
    await store.start()
    assert (await store.acquire("journal3")).info.epoch == 3
    await store.stop()
    with pytest.raises(Unavailable, match="is not empty"):
        await copy(source, there, is_source_in_use=False)
    assert await all_rows(there) == expected


async def test_a_journal_is_copied_while_it_is_written(place: Place, tmp_path: Path) -> None:
    """The copy is as it was at one moment: the two streams that are written in turn differ by one record at most."""
    source, target = place(), JournalSettings(str(tmp_path / "target.db"))
    await fill(source, 50)
    store = store_of(source)
    await store.start()
    for key in ("x", "y"):
        await store.create(key, "", "m", [], None)

    async def write() -> None:
        position = 0
        while True:
            for key in ("x", "y"):
                await store.append(key, 1, position, [b"%d" % position], None)
            position += 1

    writing = asyncio.create_task(write())
    while len(await store.records("y")) < 20:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.to_thread(lambda: asyncio.run(copy(source, target, is_source_in_use=True)))
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.stop()
    copied = store_of(target)
    await copied.start()
    x, y = await copied.records("x"), await copied.records("y")
    await copied.stop()
    assert 0 <= len(x) - len(y) <= 1
    assert len(y) >= 20
    assert x == tuple(b"%d" % position for position in range(len(x)))


async def test_one_that_a_server_has_is_copied_only_as_a_backup(tmp_path: Path) -> None:
    source, target = JournalSettings(str(tmp_path / "source.db")), JournalSettings(str(tmp_path / "target.db"))
    await fill(source, 5)
    lock = lock_of(source)
    await lock.take()
    with pytest.raises(Unavailable, match="in use by another server"):
        await copy(source, target, is_source_in_use=False)
    with pytest.raises(Unavailable, match="in use by another server"):
        await copy(JournalSettings(str(tmp_path / "source.db")), source, is_source_in_use=True)
    assert not files_of(target)["journal"].exists()
    await copy(source, target, is_source_in_use=True)
    lock.release()


async def test_a_copy_that_fails_removes_what_it_made_and_nothing_else(tmp_path: Path) -> None:
    source, target = JournalSettings(str(tmp_path / "source.db")), JournalSettings(str(tmp_path / "a" / "b.db"))
    await fill(source, 5)
    (tmp_path / "a").mkdir()
    for name in ("b.db.monday", "b.db.gz", "b.db-topics"):
        (tmp_path / "a" / name).touch()
    before = set((tmp_path / "a").iterdir())
    connection = sqlite3.connect(files_of(source)["topics"])
    connection.execute("ALTER TABLE items RENAME TO other")
    connection.close()
    with pytest.raises(Unavailable, match="no such table: items"):
        await copy(source, target, is_source_in_use=False)
    assert {one for one in (tmp_path / "a").iterdir() if one.suffix != ".lock"} == before
    files_of(source)["topics"].unlink()
    with pytest.raises(Unavailable, match="there is no journal .*source-topics.db"):
        await copy(source, target, is_source_in_use=False)
    assert {one for one in (tmp_path / "a").iterdir() if one.suffix != ".lock"} == before


async def test_topics_that_are_there_alone_are_left_alone(tmp_path: Path) -> None:
    source, target = JournalSettings(str(tmp_path / "source.db")), JournalSettings(str(tmp_path / "target.db"))
    await fill(source, 5)
    await fill(target, 7)
    files_of(target)["journal"].unlink()
    with pytest.raises(Unavailable, match="target-topics.db is not empty"):
        await copy(source, target, is_source_in_use=False)
    assert files_of(target)["topics"].exists()
    assert not files_of(target)["journal"].exists()


async def test_what_is_no_journal_is_said(place: Place, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no journal" * 1000)
    with pytest.raises(Unavailable, match="is damaged"):
        await copy(JournalSettings(str(tmp_path / "text.db")), place(), is_source_in_use=False)
    with pytest.raises(Unavailable, match=r"there is no journal .*nowhere\.db"):
        await copy(JournalSettings(str(tmp_path / "nowhere.db")), place(), is_source_in_use=False)


async def test_gaps_strays_and_records_that_cannot_be_read_are_found(place: Place) -> None:
    settings = place()
    store = store_of(settings)
    topics = store_of(settings, "topics")
    await topics.start()
    await topics.stop()
    await store.start()
    for key in ("kind/a", "kind/b", "c"):
        await store.create(key, "", "m", [b"0", b"1", b"bad", b"3"], None)
    await store.stop()

    def decode(record: bytes) -> object:
        if record == b"bad":
            raise InvalidRequest("it is bad")
        return record

    assert [fault async for fault in faults(settings, {})] == []
    async with open_rows(settings, is_read_only=False) as stores:
        await stores["journal"].write("records", [("stray", 0, b"x"), ("c", 9, b"x")])
    found = [fault.partition(": ")[2] async for fault in faults(settings, {"kind": decode})]
    assert found == [
        "'c' has no record 4 to 8",
        "record 2 of 'kind/a' cannot be read: it is bad",
        "record 2 of 'kind/b' cannot be read: it is bad",
        "records of 'stray', which is no stream",
    ]


async def test_what_was_dropped_is_no_gap_up_to_the_record_that_it_was_dropped_with(place: Place) -> None:
    settings = place()
    for store in (store_of(settings), store_of(settings, "topics")):
        await store.start()
        for key in ("kind/a", "kind/b"):
            await store.create(key, "", "m", [b"0", b"1", b"2"], None)
            await store.append(key, 1, 3, [b"3", b"cut" if key == "kind/a" else b"4"], None, None, (), [range(1, 4)])
            await store.append(key, 1, 5, [b"5"] * 700, None)
        await store.stop()
    decoders = {"kind": lambda record: Cut() if record == b"cut" else record}
    found = [fault.partition(": ")[2] async for fault in faults(settings, decoders)]
    async with open_rows(settings, is_read_only=False) as stores:
        await stores["journal"].write("records", [("kind/a", 707, b"x")])
    again = [fault.partition(": ")[2] async for fault in faults(settings, decoders)]
    of_topics = ["'kind/a' has no record 1 to 3", "'kind/b' has no record 1 to 3"]
    assert found == ["'kind/b' has no record 1 to 3", *of_topics]
    assert again == ["'kind/a' has no record 705 to 706", *found]


async def test_a_file_with_damaged_pages_is_found(tmp_path: Path) -> None:
    settings = JournalSettings(str(tmp_path / "a.db"))
    await fill(settings)
    connection = sqlite3.connect(files_of(settings)["journal"])
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    _damage(files_of(settings)["journal"])
    found = list[str]()
    try:
        found += [fault async for fault in faults(settings, {})]
    except Unavailable as error:
        found.append(str(error))
    assert found


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xaa" * 3 * 4096)
