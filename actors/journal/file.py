"""The SQLite file of a journal: how it is opened, and how deleted text leaves it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from actors.journal.formats import check_format
from api.errors import Unavailable, reason_of
from api.logs import event_logger

log = event_logger("greenroom.journal")

_INCREMENTAL = 2
"""SQLite's number for ``auto_vacuum = INCREMENTAL``."""

_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

_MAX_WAL_BYTES = 4 << 20
"""The write-ahead log keeps at most so many bytes after a checkpoint."""

_MAX_FREED_PAGES = 4096
"""Pages that one ``erase`` returns to the file system, so that writes never wait for long."""


def with_logs(path: Path) -> tuple[Path, ...]:
    """The file of a database, and those that SQLite has beside it."""
    return tuple(path.with_name(f"{path.name}{end}") for end in ("", "-wal", "-shm"))


def open_file(path: Path, synchronous: str, migrations: Sequence[str]) -> sqlite3.Connection:
    """A connection to the file, which is made with its folder where they are missing.

    ``secure_delete`` overwrites what is deleted with zeros. A file of an earlier release is rebuilt once: its free
    pages have deleted text, and only a rebuilt one can shrink. Nobody but this user may read it, nor its log, whose
    permissions SQLite takes from it.

    Args:
        migrations: SQL that brings the tables from each format to the next; the file's ``user_version`` counts them.

    Raises:
        Unavailable: a later release wrote it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    for file in with_logs(path):
        if file.exists() and file.stat().st_mode & 0o077:
            file.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
    _migrate(connection, path, migrations)
    try:
        if _pragma(connection, "auto_vacuum") != _INCREMENTAL:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
        erase(connection)
    except sqlite3.OperationalError as error:
        log.warning("deleted text could not be removed from the journal's file", path=str(path), error=str(error))
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    """One format after another. Processes that open a file at the same moment do it once: each looks in its turn."""
    check_format(f"the journal {path}", _pragma(connection, "user_version"), len(migrations))
    while _pragma(connection, "user_version") < len(migrations):
        connection.execute("BEGIN IMMEDIATE")
        try:
            number = _pragma(connection, "user_version")
            if number < len(migrations):
                for statement in _statements(migrations[number]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.rollback()
            raise


def _statements(script: str) -> Iterator[str]:
    """One by one, since ``executescript`` would end the transaction that it is called in."""
    statement = ""
    for piece in f"{script};".split(";"):
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def erase(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, which has copies of deleted text, and shrink the file; False: call it again."""
    connection.executescript(f"PRAGMA incremental_vacuum({_MAX_FREED_PAGES})")  # execute() would free one page only
    is_blocked, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_blocked and _pragma(connection, "freelist_count") == 0


def refusal(error: sqlite3.Error, path: Path) -> Unavailable:
    """Why the file takes nothing, in SQLite's words; for a damaged one, what can be done."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if not name.startswith(_DAMAGED):
        return Unavailable(f"the journal cannot write: {reason_of(error)}")
    return Unavailable(
        f"the journal {path} is damaged ({reason_of(error)}). Put a copy in its place, or move it away with its -wal "
        f"and -shm files to begin anew; `sqlite3 {path} .recover` prints what can still be read"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
