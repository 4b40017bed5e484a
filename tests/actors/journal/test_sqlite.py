"""The journal's contract, on SQLite: fencing, idempotent writes, group commit, durability."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.journal.contract import Listing
from actors.journal.sqlite import SqliteJournal, Write
from api.errors import Fenced, IdTaken, InvalidRequest, NotFound, RecordsMissing


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "folder" / "journal.db")
    await journal.start()
    yield journal
    await journal.stop()


async def test_what_was_written_is_read_back_in_order(journal: SqliteJournal) -> None:
    await journal.create("a", "ann", "pocket", [b"0"], None)
    await journal.append("a", 1, 1, [b"1", b"2"], None)
    acquired = await journal.acquire("a")
    assert acquired.records == (b"0", b"1", b"2")
    assert (acquired.info.owner, acquired.info.model, acquired.info.epoch) == ("ann", "pocket", 2)


async def test_an_earlier_owner_is_fenced(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [], None)
    await journal.acquire("a")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 0, [b"late"], None)
    with pytest.raises(Fenced):
        await journal.delete("a", 1)
    assert (await journal.acquire("a")).records == ()


async def test_a_repeated_write_changes_nothing(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [], None)
    for _ in range(3):
        await journal.append("a", 1, 0, [b"0", b"1"], None)
    await journal.append("a", 1, 1, [b"1", b"2"], None)
    assert (await journal.acquire("a")).records == (b"0", b"1", b"2")


async def test_a_gap_is_refused(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [], None)
    with pytest.raises(RecordsMissing):
        await journal.append("a", 1, 1, [b"1"], None)


async def test_creating_twice_is_creating_once_until_somebody_took_over(journal: SqliteJournal) -> None:
    await journal.create("a", "ann", "pocket", [b"0"], None)
    await journal.create("a", "ann", "pocket", [b"0"], None)
    with pytest.raises(IdTaken):
        await journal.create("a", "bob", "pocket", [b"0"], None)
    assert (await journal.acquire("a")).records == (b"0",)
    with pytest.raises(IdTaken):
        await journal.create("a", "ann", "pocket", [b"0"], None)


async def test_a_deleted_stream_is_gone_and_fences_its_owner(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [b"0"], None)
    await journal.delete("a", 1)
    await journal.delete("a")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 1, [b"1"], None)
    with pytest.raises(NotFound):
        await journal.acquire("a")
    assert await journal.info("a") is None


async def test_a_stream_that_is_given_away_fences_its_holder_and_keeps_its_records(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [b"0"], None)
    await journal.give("a", "ada")
    with pytest.raises(Fenced):
        await journal.append("a", 1, 1, [b"1"], None)
    assert [stream.key for stream in await journal.streams("ada")] == ["a"]
    acquired = await journal.acquire("a")
    assert (acquired.info.owner, acquired.records) == ("ada", (b"0",))
    with pytest.raises(NotFound):
        await journal.give("b", "ada")


async def test_streams_are_listed_by_owner_and_by_expiry(journal: SqliteJournal) -> None:
    await journal.create("a", "ann", "pocket", [], 100.0)
    await journal.create("b", "bob", "pocket", [], None)
    await journal.append("a", 1, 0, [], 200.0)
    assert [info.key for info in await journal.streams("ann")] == ["a"]
    assert {info.key for info in await journal.streams()} == {"a", "b"}
    assert await journal.expired(150.0) == ()
    assert await journal.expired(200.0) == ("a",)


async def test_writes_at_once_share_commits_and_a_refused_one_spoils_no_other(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, sizes = journal._commit, list[int]()

    def counted(writes: Sequence[Write]) -> list[Any]:
        sizes.append(len(writes))
        return commit(writes)

    for index in range(40):
        await journal.create(f"s{index}", "", "pocket", [], None)
    monkeypatch.setattr(journal, "_commit", counted)
    writes = [journal.append(f"s{index}", 2 if index == 7 else 1, 0, [b"x"], None) for index in range(40)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [index for index, answer in enumerate(answers) if isinstance(answer, Fenced)] == [7]
    assert (sum(sizes), len(sizes) <= 2) == (40, True)
    assert (await journal.acquire("s8")).records == (b"x",)
    assert (await journal.acquire("s7")).records == ()


async def test_only_one_of_many_takers_keeps_writing(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [], None)
    epochs = [acquired.info.epoch for acquired in await asyncio.gather(*(journal.acquire("a") for _ in range(10)))]
    assert sorted(epochs) == list(range(2, 12))
    answers = await asyncio.gather(
        *(journal.append("a", epoch, 0, [str(epoch).encode()], None) for epoch in epochs), return_exceptions=True
    )
    assert sum(answer is None for answer in answers) == 1
    assert (await journal.acquire("a")).records == (b"11",)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from actors.journal.sqlite import SqliteJournal, Write
        async def main():
            journal = SqliteJournal(Path(sys.argv[1]))
            await journal.start()
            await journal.create("a", "", "pocket", [], None)
            position = 0
            while True:
                await journal.append("a", 1, position, [str(position).encode()], None)
                print(position, flush=True)
                position += 1
        asyncio.run(main())
    """)
    path = tmp_path / "journal.db"
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(20)]
    os.kill(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT record FROM records ORDER BY position").fetchall()
    connection.close()
    assert [int(record) for (record,) in rows][:20] == acknowledged


async def test_what_cannot_be_kept_is_refused_and_its_neighbours_are_kept(journal: SqliteJournal) -> None:
    names = ("before", "\ud800", "after")
    answers = await asyncio.gather(*(journal.put_item("s", name, b"x") for name in names), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), InvalidRequest, type(None)]
    assert await journal.list_items("s") == ("after", "before")


OLD_FILE = """
CREATE TABLE streams (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, epoch INTEGER NOT NULL,
    created_at REAL NOT NULL, last_used_at REAL NOT NULL, expires_at REAL) WITHOUT ROWID;
CREATE TABLE records (
    key TEXT NOT NULL, position INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (key, position)) WITHOUT ROWID;
INSERT INTO streams VALUES ('a', 'ann', 'pocket', 3, 1.0, 2.0, NULL);
INSERT INTO records VALUES ('a', 0, X'6669727374');
"""


async def test_a_file_from_before_streams_had_titles_opens_and_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    connection = sqlite3.connect(path)
    connection.executescript(OLD_FILE)
    connection.close()
    for title in ("", "mine"):
        journal = SqliteJournal(path)
        await journal.start()
        (stream,) = await journal.streams("ann")
        assert (stream.key, stream.created_at, stream.title) == ("a", 1.0, title)
        assert (await journal.acquire("a")).records[0] == b"first"
        epoch = (await journal.acquire("a")).info.epoch
        await journal.append("a", epoch, 1, [b"1"], None, Listing("mine", "pocket"))
        await journal.append("a", epoch, 2, [], None)
        await journal.stop()


async def test_a_listing_is_the_last_one_that_was_given(journal: SqliteJournal) -> None:
    await journal.create("a", "", "pocket", [], None, "first")
    (stream,) = await journal.streams()
    assert (stream.title, stream.model, stream.is_listed) == ("first", "pocket", True)
    await journal.append("a", 1, 0, [b"0"], None, Listing("second", "other", is_listed=False))
    await journal.append("a", 1, 1, [b"1"], None)
    (stream,) = await journal.streams()
    assert (stream.title, stream.model, stream.is_listed) == ("second", "other", False)
