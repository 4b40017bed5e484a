"""A log: an append-only sequence of records with integer positions, read by cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Generic, TypeVar

from api.errors import InvalidRequest

Record = TypeVar("Record")


class Log(Generic[Record]):
    """Records at positions 0, 1, 2, …, from ``start`` on; never changed, read from any position, until it is closed.

    Belongs to one event loop. A reader holds its own cursor, so any number read, each at its own pace, and one that
    comes back misses nothing. ``watch`` an event to learn of growth in many logs with one wait.
    """

    def __init__(self) -> None:
        self.start = 0
        self._records: list[Record] = []
        self._watchers: set[asyncio.Event] = set()
        self.is_closed = False

    @property
    def end(self) -> int:
        """The position that the next record will get."""
        return self.start + len(self._records)

    @property
    def last(self) -> Record:
        """The latest record, of which there must be one."""
        return self._records[-1]

    def append(self, records: Iterable[Record]) -> None:
        """Add records and wake the watchers."""
        assert not self.is_closed, "a closed log does not grow"
        self._records.extend(records)
        self._wake()

    def close(self) -> None:
        """No more records will come. Idempotent."""
        self.is_closed = True
        self._wake()

    def read(self, position: int) -> list[Record]:
        """All records from a position on; empty at the end.

        Raises:
            InvalidRequest: the position lies outside the log.
        """
        if not self.start <= position <= self.end:
            raise InvalidRequest(f"position {position} lies outside {self.start}..{self.end}")
        return self._records[position - self.start :]

    def start_at(self, position: int) -> None:
        """Keep nothing before this position. A log that has ended before it, of which all is lost, goes on there."""
        del self._records[: max(0, position - self.start)]
        self.start = max(self.start, position)

    def watch(self, event: asyncio.Event) -> None:
        """Set the event whenever the log grows or closes. Idempotent."""
        self._watchers.add(event)

    def unwatch(self, event: asyncio.Event) -> None:
        """Stop setting the event. Idempotent."""
        self._watchers.discard(event)

    async def wait_closed(self) -> None:
        """Return once the log is closed."""
        event = asyncio.Event()
        self.watch(event)
        try:
            while not self.is_closed:
                event.clear()
                await event.wait()
        finally:
            self.unwatch(event)

    def _wake(self) -> None:
        for event in self._watchers:
            event.set()
