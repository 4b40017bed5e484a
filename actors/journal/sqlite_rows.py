"""The rows of a journal's file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from typing_extensions import override

from actors.journal.file import refusal
from actors.journal.formats import check_read
from actors.journal.rows import TABLES, Row, Rows, batched
from actors.journal.sqlite import MIGRATIONS
from api.errors import Unavailable


@asynccontextmanager
async def sqlite_rows(path: Path, *, is_read_only: bool) -> AsyncIterator[Rows]:
    """Those of a file, which a server may have open where they are only read.

    Raises:
        Unavailable: there is none, it is damaged, or another release wrote it.
    """
    try:
        with closing(_opened(path, "ro" if is_read_only else "rw")) as file:
            file.execute("BEGIN" if is_read_only else "BEGIN IMMEDIATE")
            file.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # what is read is as of now
            yield _SqliteRows(str(path), file)
            file.execute("COMMIT")
    except sqlite3.Error as error:
        raise refusal(error, path) from error


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    if not path.exists():
        raise Unavailable(f"there is no journal {path}")
    file = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    (found,) = file.execute("PRAGMA user_version").fetchone()
    check_read(f"the journal {path}", found, len(MIGRATIONS))
    return file


class _SqliteRows(Rows):
    def __init__(self, place: str, file: sqlite3.Connection) -> None:
        self.place = place
        self._file = file

    @override
    def read(self, table: str) -> AsyncGenerator[list[Row]]:
        return batched(self._rows(table))

    async def _rows(self, table: str) -> AsyncGenerator[Row]:
        names = TABLES[table]
        for row in self._file.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {names[0]}, {names[1]}"):
            yield (*row[:-1], bool(row[-1])) if table == "streams" else row

    @override
    async def write(self, table: str, rows: Sequence[Row]) -> None:
        names = TABLES[table]
        places = ", ".join("?" * len(names))
        self._file.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", rows)

    @override
    async def fault(self) -> str | None:
        (found,) = self._file.execute("PRAGMA integrity_check(1)").fetchone()
        return None if found == "ok" else str(found)
