"""Deleted text leaves the files of a journal: judged by reading them as bytes, and by SQLite's own pragmas."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from actors.journal.sqlite import MIGRATIONS, SqliteJournal

SECRET = b"the patient's name is Zacharias"
RECORDS = [SECRET, random.Random(1).randbytes(100_000) + SECRET + 50_000 * b"x", 3_000 * b"y" + SECRET]
"""In a page, in overflow pages, at a page's end."""


def num_secrets(folder: Path) -> int:
    """How often it stands in any file of the folder."""
    return sum(file.read_bytes().count(SECRET) for file in folder.iterdir())


def file_size(folder: Path) -> int:
    """Of the journal and its write-ahead log."""
    return sum((folder / name).stat().st_size for name in ("journal.db", "journal.db-wal"))


async def until_gone(folder: Path) -> None:
    async with asyncio.timeout(30):
        while num_secrets(folder):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_deleted_stream_and_a_deleted_item_leave_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteJournal, "ERASE_AFTER_S", 0.05)
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.start()
    await journal.create("kept", "", "pocket", [b"kept"], None)
    await journal.create("deleted", "", "pocket", RECORDS, None)
    await journal.append("deleted", 1, 3, 200 * RECORDS[2:], None)
    await journal.put_item("store", "deleted", SECRET)
    size = file_size(tmp_path)
    assert num_secrets(tmp_path) > 200
    await journal.delete("deleted")
    await journal.delete_item("store", "deleted")
    await until_gone(tmp_path)
    assert file_size(tmp_path) < size / 4
    assert (await journal.acquire("kept")).records == (b"kept",)
    await journal.stop()


async def test_dropped_records_leave_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SqliteJournal, "ERASE_AFTER_S", 0.05)
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.start()
    await journal.create("a", "", "pocket", [b"kept", *RECORDS], None)
    assert num_secrets(tmp_path)
    await journal.append("a", 1, 4, [b"new"], None, None, (), [range(1, 4)])
    await until_gone(tmp_path)
    assert await journal.records("a") == (b"kept", b"new")
    await journal.stop()


async def test_what_was_deleted_right_before_the_end_is_gone_after_it(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.start()
    await journal.create("deleted", "", "pocket", RECORDS, None)
    await journal.delete("deleted")
    await journal.stop()
    assert num_secrets(tmp_path) == 0


async def test_the_file_of_an_earlier_release_is_rebuilt_without_what_was_deleted_in_it(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.executescript(MIGRATIONS[0])
    for number in range(50):
        connection.execute("INSERT INTO items VALUES ('store', ?, ?)", (f"{number}", SECRET + 3_000 * b"z"))
    connection.execute("INSERT INTO items VALUES ('store', 'kept', 'kept')")
    connection.execute("DELETE FROM items WHERE name != 'kept'")
    connection.close()
    assert num_secrets(tmp_path) > 10
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.start()
    assert num_secrets(tmp_path) == 0
    assert await journal.list_items("store") == ("kept",)
    await journal.stop()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()
