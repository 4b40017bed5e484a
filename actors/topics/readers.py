"""The processes that read: each has one poll at a time, for all of its subscriptions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.topics.topic import Topic


@dataclass(slots=True, eq=False)
class Subscription:
    """One reader's place in one topic: what lies before ``done`` has been handed out."""

    topic: Topic
    reader: Reader
    subscriber: str | None
    done: int


@dataclass(slots=True, eq=False)
class Reader:
    """A process that reads, alive for as long as it asks.

    ``waiting`` is the poll that waits, and ``num_calls`` counts calls of any kind that do. ``ended`` are subscriptions
    whose topic was deleted, until it knows.
    """

    seen_at: float
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    waiting: asyncio.Event | None = None
    num_calls: int = 0
    num_polls: int = 0
    replied_at: float = 0.0
    ended: set[str] = field(default_factory=set)

    def wake(self) -> None:
        """There may be something new for it."""
        if self.waiting:
            self.waiting.set()

    def end_poll(self) -> None:
        """The poll that waits is to be answered, new or not."""
        self.wake()
        self.waiting = None


class Readers:
    """The readers that live; one that is silent for ``timeout_s`` does not any longer."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def touch(self, reader_id: str, now: float) -> Reader:
        """The reader of this id, which has just given a sign of life."""
        reader = self._readers.get(reader_id)
        if reader is None:
            reader = self._readers[reader_id] = Reader(now)
        reader.seen_at = now
        return reader

    def is_alive(self, reader_id: str) -> bool:
        """Whether it is known."""
        return reader_id in self._readers

    def remove_silent(self, now: float, timeout_s: float) -> list[Reader]:
        """Forget those that have been silent for too long, and return them."""
        silent = [
            reader_id
            for reader_id, reader in self._readers.items()
            if not reader.num_calls and now - reader.seen_at > timeout_s
        ]
        return [self._readers.pop(reader_id) for reader_id in silent]
