"""The journal on SQLite: one file, one writer, many writes to a commit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import override

from actors.journal.contract import Acquired, IndexEntry, Journal, Listing, StreamInfo
from actors.journal.file import erase, open_file, refusal
from api.errors import Fenced, GreenroomError, IdTaken, InvalidRequest, NotFound, RecordsMissing, reason_of
from api.logs import event_logger

log = event_logger("greenroom.journal")

Answer = TypeVar("Answer")
Write = Callable[[sqlite3.Connection], Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS streams (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, model TEXT NOT NULL, epoch INTEGER NOT NULL,
    created_at REAL NOT NULL, last_used_at REAL NOT NULL, expires_at REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS streams_by_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS streams_by_owner ON streams (owner, last_used_at);
CREATE TABLE IF NOT EXISTS records (
    key TEXT NOT NULL, position INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (key, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
    space TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (space, name)) WITHOUT ROWID;
"""
_INFERLETS_NAMED_BY_TITLE = """
UPDATE streams
    SET title = substr(model, 1, instr(model, char(10)) - 1), model = substr(model, instr(model, char(10)) + 1)
    WHERE key LIKE 'inferlet/%' AND instr(model, char(10)) > 0
"""
"""``model`` was an inferlet's name, a line's end and its program."""

_ENTRIES = """
CREATE TABLE entries (
    key TEXT NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, at REAL NOT NULL, state TEXT NOT NULL,
    value BLOB NOT NULL, PRIMARY KEY (key, name)) WITHOUT ROWID;
CREATE INDEX entries_by_time ON entries (owner, at, name);
CREATE INDEX entries_by_state ON entries (owner, state, at, name)
"""

MIGRATIONS = (
    _TABLES,
    "ALTER TABLE streams ADD COLUMN title TEXT NOT NULL DEFAULT ''",
    _INFERLETS_NAMED_BY_TITLE,
    "ALTER TABLE streams ADD COLUMN is_listed INTEGER NOT NULL DEFAULT 1",
    _ENTRIES,
)
"""Format 0 had the first tables, and did not say so."""

COLUMNS = "key, owner, model, epoch, created_at, last_used_at, expires_at, title"
_ALL = f"{COLUMNS}, is_listed"


class SqliteJournal(Journal):
    """A journal in one SQLite file (WAL), written by one thread.

    Writes that arrive while a commit is on its way share the next one (group commit), each under its own savepoint,
    so that a refused write undoes nothing of its neighbours'. ``synchronous=FULL`` survives a power failure;
    "NORMAL" only the death of the process. The file must lie on a local disk. Deleted text has left it, and its
    write-ahead log, ``ERASE_AFTER_S`` later.
    """

    ERASE_AFTER_S = 5.0

    def __init__(self, path: Path, synchronous: str = "FULL") -> None:
        self._path = path
        self._synchronous = synchronous
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: list[tuple[Write, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._erasing: asyncio.Task[None] | None = None
        self._has_deleted = False
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Open the file, making it and its folder where they are missing.

        Raises:
            Unavailable: it is damaged, or there is no room for it.
        """
        self._connection = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def stop(self) -> None:
        """Finish what waits and close the file."""
        while self._committing:
            await self._committing
        if self._erasing:
            self._erasing.cancel()
            await asyncio.gather(self._erasing, return_exceptions=True)
        if self._connection:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    @override
    async def create(
        self, key: str, owner: str, model: str, records: Sequence[bytes], expires_at: float | None, title: str = ""
    ) -> Acquired:
        now = time.time()

        def write(connection: sqlite3.Connection) -> Acquired:
            found = _find(connection, key)
            if found is None:
                row = (key, owner, model, 1, now, now, expires_at, title)
                connection.execute(f"INSERT INTO streams ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                _insert(connection, key, 0, records)
                found = StreamInfo(*row)
            elif found.owner != owner or found.epoch != 1:
                raise IdTaken(f"the journal already holds {key!r}")
            return Acquired(found, tuple(records), range(len(records)))

        return await self._write(write)

    @override
    async def acquire(self, key: str) -> Acquired:

        def write(connection: sqlite3.Connection) -> Acquired:
            connection.execute("UPDATE streams SET epoch = epoch + 1 WHERE key = ?", (key,))
            found = _find(connection, key)
            if found is None:
                raise NotFound(f"the journal holds no {key!r}")
            query = "SELECT record, position FROM records WHERE key = ? ORDER BY position"
            rows = connection.execute(query, (key,)).fetchall()
            return Acquired(found, tuple(record for record, _ in rows), tuple(position for _, position in rows))

        return await self._write(write)

    @override
    async def records(self, key: str) -> tuple[bytes, ...]:

        def read(connection: sqlite3.Connection) -> tuple[bytes, ...]:
            if _find(connection, key) is None:
                raise NotFound(f"the journal holds no {key!r}")
            return _records(connection, key)

        return await self._write(read)

    @override
    async def append(
        self,
        key: str,
        epoch: int,
        position: int,
        records: Sequence[bytes],
        expires_at: float | None,
        listing: Listing | None = None,
        entries: Sequence[IndexEntry] = (),
        drops: Sequence[range] = (),
    ) -> None:
        now = time.time()
        shown = (listing.title, listing.model, listing.is_listed) if listing else (None, None, None)

        def write(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE streams SET last_used_at = ?, expires_at = ?, title = coalesce(?, title),"
                " model = coalesce(?, model), is_listed = coalesce(?, is_listed) WHERE key = ? AND epoch = ?",
                (now, expires_at, *shown, key, epoch),
            )
            if changed.rowcount == 0:
                raise Fenced(key, epoch)
            (end,) = connection.execute(
                "SELECT coalesce(max(position) + 1, 0) FROM records WHERE key = ?", (key,)
            ).fetchone()
            if position > end:
                raise RecordsMissing(f"a write to {key!r} at {position} would leave a gap after {end}")
            _insert(connection, key, end, records[end - position :])
            rows = [(entry.name, entry.at, entry.state, entry.value, key) for entry in entries]
            connection.executemany(
                "INSERT OR REPLACE INTO entries (key, name, owner, at, state, value)"
                " SELECT key, ?, owner, ?, ?, ? FROM streams WHERE key = ?",
                rows,
            )
            dropped = [(key, one.start, one.stop) for one in drops] if position == end else []
            self._has_deleted = self._has_deleted or bool(dropped)
            connection.executemany("DELETE FROM records WHERE key = ? AND position >= ? AND position < ?", dropped)

        await self._write(write)

    @override
    async def delete(self, key: str, epoch: int | None = None) -> None:

        def write(connection: sqlite3.Connection) -> None:
            found = _find(connection, key)
            if found and epoch is not None and found.epoch != epoch:
                raise Fenced(key, epoch)
            self._has_deleted = True
            connection.execute("DELETE FROM records WHERE key = ?", (key,))
            connection.execute("DELETE FROM entries WHERE key = ?", (key,))
            connection.execute("DELETE FROM streams WHERE key = ?", (key,))

        await self._write(write)

    @override
    async def give(self, key: str, owner: str) -> None:
        query = "UPDATE streams SET owner = ?, epoch = epoch + 1 WHERE key = ?"

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(query, (owner, key)).rowcount == 0:
                raise NotFound(f"the journal holds no {key!r}")
            connection.execute("UPDATE entries SET owner = ? WHERE key = ?", (owner, key))

        await self._write(write)

    @override
    async def streams(self, owner: str | None = None) -> tuple[StreamInfo, ...]:
        where, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
        query = f"SELECT {_ALL} FROM streams {where} ORDER BY last_used_at DESC"
        return await self._write(
            lambda connection: tuple(StreamInfo(*row) for row in connection.execute(query, values))
        )

    @override
    async def info(self, key: str) -> StreamInfo | None:
        return await self._write(lambda connection: _find(connection, key))

    @override
    async def expired(self, now: float) -> tuple[str, ...]:
        query = "SELECT key FROM streams WHERE expires_at <= ?"
        return await self._write(lambda connection: tuple(key for (key,) in connection.execute(query, (now,))))

    @override
    async def entries(
        self, owner: str, state: str | None, before: tuple[float, str] | None, limit: int
    ) -> tuple[IndexEntry, ...]:
        conditions, values = ["owner = ?"], [owner]
        if state is not None:
            conditions, values = [*conditions, "state = ?"], [*values, state]
        where = " AND ".join([*conditions, *(["(at, name) < (?, ?)"] if before else [])])
        query = f"SELECT name, at, state, value FROM entries WHERE {where} ORDER BY at DESC, name DESC LIMIT ?"
        rows = (*values, *(before or ()), limit)
        return await self._write(lambda connection: tuple(IndexEntry(*row) for row in connection.execute(query, rows)))

    @override
    async def put_item(self, space: str, name: str, value: bytes) -> None:
        query = "INSERT OR REPLACE INTO items (space, name, value) VALUES (?, ?, ?)"
        await self._write(lambda connection: connection.execute(query, (space, name, value)).rowcount)

    @override
    async def get_item(self, space: str, name: str) -> bytes | None:
        query = "SELECT value FROM items WHERE space = ? AND name = ?"
        row = await self._write(lambda connection: connection.execute(query, (space, name)).fetchone())
        return row[0] if row else None

    @override
    async def delete_item(self, space: str, name: str) -> bool:

        def write(connection: sqlite3.Connection) -> bool:
            self._has_deleted = True
            query = "DELETE FROM items WHERE space = ? AND name = ?"
            return connection.execute(query, (space, name)).rowcount > 0

        return await self._write(write)

    @override
    async def list_items(self, space: str, prefix: str = "") -> tuple[str, ...]:
        query = "SELECT name FROM items WHERE space = ? AND substr(name, 1, ?) = ? ORDER BY name"
        values = (space, len(prefix), prefix)
        return await self._write(lambda connection: tuple(name for (name,) in connection.execute(query, values)))

    async def _write(self, write: Callable[[sqlite3.Connection], Answer]) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return await future

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    answers = await loop.run_in_executor(self._thread, self._commit, [write for write, _ in batch])
                except sqlite3.Error as error:
                    answers = [refusal(error, self._path)] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.cancelled():
                        _settle(future, answer)
        finally:
            self._committing = None
        if self._has_deleted and (self._erasing is None or self._erasing.done()):
            self._erasing = asyncio.create_task(self._erase())

    def _commit(self, writes: Sequence[Write]) -> list[Any]:
        assert self._connection is not None, "start() comes first"
        connection = self._connection
        _roll_back(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            answers = [_under_savepoint(connection, write) for write in writes]
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # the next commit tries again
                _roll_back(connection)
            raise
        return answers

    def _open(self) -> sqlite3.Connection:
        try:
            return open_file(self._path, self._synchronous, MIGRATIONS)
        except sqlite3.Error as error:
            raise refusal(error, self._path) from error

    async def _erase(self) -> None:
        """Until all that was deleted has left the files."""
        assert self._connection is not None, "start() comes first"
        loop, is_erased = asyncio.get_running_loop(), False
        while not is_erased:
            await asyncio.sleep(self.ERASE_AFTER_S)
            self._has_deleted = False
            try:
                is_erased = await loop.run_in_executor(self._thread, erase, self._connection)
            except sqlite3.Error as error:
                log.warning("deleted text is still in the journal's file", path=str(self._path), error=str(error))
            is_erased = is_erased and not self._has_deleted


def _roll_back(connection: sqlite3.Connection) -> None:
    """SQLite itself has done it where the disk is full."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _under_savepoint(connection: sqlite3.Connection, write: Write) -> Any:
    connection.execute("SAVEPOINT one")
    answer: Any
    try:
        answer = write(connection)
    except GreenroomError as refusal:
        connection.execute("ROLLBACK TO one")
        answer = refusal
    except (ValueError, TypeError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
        connection.execute("ROLLBACK TO one")
        answer = InvalidRequest(f"the journal cannot keep this: {reason_of(error)}")
    connection.execute("RELEASE one")
    return answer


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _find(connection: sqlite3.Connection, key: str) -> StreamInfo | None:
    row = connection.execute(f"SELECT {_ALL} FROM streams WHERE key = ?", (key,)).fetchone()
    return StreamInfo(*row) if row else None


def _records(connection: sqlite3.Connection, key: str) -> tuple[bytes, ...]:
    rows = connection.execute("SELECT record FROM records WHERE key = ? ORDER BY position", (key,))
    return tuple(record for (record,) in rows)


def _insert(connection: sqlite3.Connection, key: str, position: int, records: Sequence[bytes]) -> None:
    rows = [(key, position + index, record) for index, record in enumerate(records)]
    connection.executemany("INSERT INTO records (key, position, record) VALUES (?, ?, ?)", rows)
