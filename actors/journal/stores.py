"""The stores that the settings name: files on this machine's disk, or a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from actors.journal.contract import Journal
from actors.journal.lock import JournalLock
from actors.journal.sqlite import SqliteJournal
from actors.settings import JournalSettings


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


def journal_store(settings: JournalSettings) -> Store:
    """Of sessions, inferlets and items."""
    if settings.url is None:
        return SqliteJournal(file_of(settings), settings.synchronous)
    from actors.journal.postgres.journal import PostgresJournal

    return PostgresJournal(settings.url)


def topics_store(settings: JournalSettings) -> Store:
    """Of durable topics and queues."""
    if settings.url is None:
        return SqliteJournal(topics_file_of(settings), settings.synchronous)
    from actors.journal.postgres.journal import PostgresJournal

    return PostgresJournal(settings.url, "greenroom_topics")


def journal_lock(settings: JournalSettings) -> Lock:
    """Of both."""
    if settings.url is None:
        return JournalLock(file_of(settings))
    from actors.journal.postgres.server import ServerLock

    return ServerLock(settings.url)


def file_of(settings: JournalSettings) -> Path:
    """The file of sessions, inferlets and items."""
    return Path(settings.path).expanduser()


def topics_file_of(settings: JournalSettings) -> Path:
    """The one beside it of durable topics and queues."""
    file = file_of(settings)
    return file.with_name(f"{file.stem}-topics.db")
