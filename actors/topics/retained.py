"""The latest messages of a topic, by position."""

from __future__ import annotations

from collections.abc import Sequence

from actors.topics.messages import Entry


class Retained:
    """Entries at positions ``first`` up to, not including, ``end``; it grows at the end and is cut at the beginning."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self._entries: list[Entry] = []
        self._sizes: list[int] = []
        self._start = 0
        self.num_bytes = 0

    @property
    def end(self) -> int:
        """The position that the next message gets."""
        return self.first + len(self._entries) - self._start

    def append(self, entry: Entry) -> None:
        """Add the message at the end."""
        assert entry[0] == self.end, "positions have no gaps"
        self._entries.append(entry)
        self._sizes.append(len(entry[2]))
        self.num_bytes += len(entry[2])

    def read(self, position: int, max_messages: int, max_bytes: int) -> Sequence[Entry]:
        """Messages from a retained position on; at least one where there is one."""
        begin = self._start + position - self.first
        entries = self._entries[begin : begin + max_messages]
        if self.num_bytes > max_bytes:
            num_bytes = 0
            for index, entry in enumerate(entries):
                num_bytes += len(entry[2])
                if num_bytes > max_bytes and index:
                    return entries[:index]
        return entries

    def bytes_from(self, position: int) -> int:
        """What the messages from a position on take."""
        begin = self._start + max(0, position - self.first)
        if begin == self._start:
            return self.num_bytes
        return sum(self._sizes[begin:])

    def trim(self, max_messages: int, max_bytes: int, published_after: float) -> int:
        """Drop the oldest that are too many or too old; returns how many."""
        start, entries = self._start, self._entries
        while start < len(entries) and (
            len(entries) - start > max_messages or self.num_bytes > max_bytes or entries[start][1] <= published_after
        ):
            self.num_bytes -= self._sizes[start]
            start += 1
        dropped = start - self._start
        self.first += dropped
        self._start = start
        if start > len(entries) // 2:
            del entries[:start], self._sizes[:start]
            self._start = 0
        return dropped
