"""The journal on SQLite: group commit, durability, files of earlier releases."""

from __future__ import annotations

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
from api.errors import Fenced, Unavailable


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "folder" / "journal.db")
    await journal.start()
    yield journal
    await journal.stop()


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


async def test_a_write_whose_undoing_fails_too_is_undone_before_the_next(journal: SqliteJournal) -> None:
    await journal.create("kept", "", "pocket", [b"one"], None)
    connection = journal._connection
    assert connection is not None
    statements: list[str] = []

    def disturb(statement: str) -> None:
        statements.append(statement)
        if statement.startswith("INSERT INTO records"):
            connection.set_progress_handler(lambda: 1, 1)  # nothing else is done from here on

    connection.set_trace_callback(disturb)
    with pytest.raises(Unavailable, match="interrupted"):
        await journal.append("kept", 1, 1, [b"two"], None)
    assert statements[-1] == "ROLLBACK"
    assert connection.in_transaction
    connection.set_trace_callback(None)
    connection.set_progress_handler(None, 0)
    await journal.append("kept", 1, 1, [b"other"], None)
    assert await journal.records("kept") == (b"one", b"other")


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
