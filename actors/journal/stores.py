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


def journal_store(settings: JournalSettings) -> Store:
    """Of sessions, inferlets and items."""
    if settings.url is None:
        return SqliteJournal(_file(settings), settings.synchronous)
    from actors.journal.postgres.journal import PostgresJournal

    return PostgresJournal(settings.url)


def topics_store(settings: JournalSettings) -> Store:
    """Of durable topics and queues."""
    if settings.url is None:
        file = _file(settings)
        return SqliteJournal(file.with_name(f"{file.stem}-topics.db"), settings.synchronous)
    from actors.journal.postgres.journal import PostgresJournal

    return PostgresJournal(settings.url, "greenroom_topics")


def journal_lock(settings: JournalSettings) -> Lock:
    """Of both."""
    if settings.url is None:
        return JournalLock(_file(settings))
    from actors.journal.postgres.server import ServerLock

    return ServerLock(settings.url)


def _file(settings: JournalSettings) -> Path:
    return Path(settings.path).expanduser()
