"""The stores that the settings name: files on this machine's disk, or schemas of a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from actors.journal.contract import Journal
from actors.journal.lock import JournalLock
from actors.journal.sqlite import SqliteJournal
from actors.settings import JournalSettings

StoreName: TypeAlias = Literal["journal", "topics"]

SCHEMAS: Final[dict[StoreName, str]] = {"journal": "greenroom", "topics": "greenroom_topics"}
"""Of sessions, inferlets and items; of durable topics and queues."""


class Store(Journal, Protocol):
    """A journal that one process opens."""

    async def start(self) -> None:
        """Open it, making what is missing.

        Raises:
            Unavailable: it cannot be opened.
        """
        ...

    async def stop(self) -> None:
        """Finish what waits and close it."""
        ...


class Lock(Protocol):
    """Held from ``take`` to the end of the process: one server at a time has the stores."""

    async def take(self, wait_s: float = 0.0) -> None:
        """Take it, once it is free: an earlier holder might be about to end. Idempotent.

        Raises:
            Unavailable: another process holds it; names that.
        """
        ...

    def release(self) -> None:
        """Give it back. Idempotent."""
        ...


def store_of(settings: JournalSettings, name: StoreName = "journal") -> Store:
    """One of the stores."""
    if settings.url is None:
        return SqliteJournal(files_of(settings)[name], settings.synchronous)
    from actors.journal.postgres.journal import PostgresJournal

    return PostgresJournal(settings.url, SCHEMAS[name])


def lock_of(settings: JournalSettings, cluster: str | None = None) -> Lock:
    """Of all of them. Processes of one cluster share that of a database; that of a file is one process's."""
    if settings.url is None:
        return JournalLock(files_of(settings)["journal"])
    from actors.journal.postgres.server import ServerLock

    return ServerLock(settings.url, cluster=cluster)


def files_of(settings: JournalSettings) -> dict[StoreName, Path]:
    """Where the stores are that are files: that of topics is beside the journal."""
    file = Path(settings.path).expanduser()
    return {"journal": file, "topics": file.with_name(f"{file.stem}-topics.db")}
