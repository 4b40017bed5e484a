"""A topic's or queue's records in the journal: a log in segments, of which the first can be dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from actors.journal.contract import Journal
from actors.journal.writer import OwnedStream
from api.errors import Fenced, IdTaken
from api.names import TopicId

Kind = Literal["topic", "queue"]


def to_record(header: list[object], data: bytes = b"") -> bytes:
    """A record of a header and, if it is about a message, the message's bytes."""
    return json.dumps(header).encode() + b"\n" + data


def of_record(record: bytes) -> tuple[list[Any], bytes]:
    """The header and the bytes that ``to_record`` was given."""
    header, _, data = record.partition(b"\n")
    return json.loads(header), data


@dataclass(frozen=True, slots=True)
class SegmentKey:
    """Names a segment in the journal. A name has no control characters, so that a line's end can part it."""

    kind: str
    epoch: str
    begin: int
    topic: TopicId

    def __str__(self) -> str:
        return f"{self.kind}/{self.epoch}/{self.begin:015d}/{self.topic.owner}\n{self.topic.name}"

    @classmethod
    def parse(cls, text: str) -> SegmentKey:
        """The key of this text."""
        kind, epoch, begin, rest = text.split("/", 3)
        owner, _, name = rest.rpartition("\n")
        return cls(kind, epoch, int(begin), TopicId(name, owner))


@dataclass(slots=True)
class _Segment:
    begin: int
    stream: OwnedStream


class Segments:
    """Appends records, one write after another, and drops the segments whose messages are all past.

    A segment begins at a message's position, which its name says, so that positions are known even where nothing is
    left. ``Fenced`` comes from every write once another broker has taken over.

    Attributes:
        next_position: of the next message; set after a restore.
    """

    MAX_RECORDS = 4096

    def __init__(self, journal: Journal, kind: Kind, topic: TopicId, epoch: str) -> None:
        self._journal = journal
        self._kind = kind
        self._topic = topic
        self._epoch = epoch
        self._segments: list[_Segment] = []
        self.next_position = 0
        self._lock = asyncio.Lock()

    async def restore(self, keys: Sequence[SegmentKey]) -> tuple[int, list[bytes]]:
        """Take the segments over; the position that the first begins at, and all their records.

        Args:
            keys: all of this log, in order.
        """
        records: list[bytes] = []
        for key in keys:
            acquired = await self._journal.acquire(str(key))
            self._segments.append(_Segment(key.begin, OwnedStream(self._journal, acquired)))
            records += acquired.records
        return keys[0].begin, records

    async def append(self, records: Sequence[bytes], num_messages: int) -> None:
        """Write records, so many of which are messages at the next positions; durable on return.

        A caller that is cancelled meanwhile stops nothing.
        """
        await asyncio.shield(asyncio.ensure_future(self._append(records, num_messages)))

    async def drop_before(self, position: int) -> None:
        """Drop the segments that hold nothing from this position on, but the latest of them.

        It may have what was acknowledged right before the broker died, and is acknowledged again.
        """
        async with self._lock:
            while len(self._segments) > 2 and self._segments[2].begin <= position:
                await self._segments[0].stream.delete()
                del self._segments[0]

    async def delete(self) -> None:
        """Drop all of them."""
        async with self._lock:
            while self._segments:
                await self._segments[0].stream.delete()
                del self._segments[0]

    async def _append(self, records: Sequence[bytes], num_messages: int) -> None:
        async with self._lock:
            last = self._segments[-1] if self._segments else None
            if last is None or (last.stream.end >= self.MAX_RECORDS and self.next_position > last.begin):
                last = await self._begin(self.next_position)
            await last.stream.append(records)
            self.next_position += num_messages

    async def _check(self) -> None:
        """Raises ``Fenced`` where another broker has taken over the segment before the next."""
        if self._segments:
            await self._segments[-1].stream.append(())

    async def _begin(self, begin: int) -> _Segment:
        """A new segment. It is acquired at once, so that a broker that was replaced cannot go on in it.

        One that is there already was begun by a broker that had been replaced, or by the one that replaced this one.
        """
        key = str(SegmentKey(self._kind, self._epoch, begin, self._topic))
        try:
            await self._journal.create(key, self._topic.owner, "", (), None)
        except IdTaken:
            await self._check()
        acquired = await self._journal.acquire(key)
        if acquired.records:
            raise Fenced(key, acquired.info.epoch)
        await self._check()
        segment = _Segment(begin, OwnedStream(self._journal, acquired))
        self._segments.append(segment)
        return segment
