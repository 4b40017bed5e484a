"""The processes that read: each has one poll at a time, for all of its subscriptions."""

from __future__ import annotations

from actors.topics.topic import Reader


class Readers:
    """The live readers; one that is silent for ``timeout_s`` counts as dead."""

    def __init__(self) -> None:
        self._readers: dict[str, Reader] = {}

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
