"""What an owner needs of a journal, whichever store keeps it.

A *stream* is one owner's append-only list of records under a key. Its *epoch* is a fencing token: who acquires
the stream gets the next epoch, and a write with an older one is refused, in the same transaction as the write. A
write names the position that it starts at, so that repeating one whose answer was lost changes nothing. It might drop
earlier records, whose positions are not given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream without its records. Times are seconds since the epoch; ``expires_at`` None means never.

    For lists of streams, which do not read records, ``model`` is a session's model or an inferlet's program, ``title``
    the title of a session or the name of an inferlet. One that is not ``is_listed`` is in no owner's list.
    """

    key: str
    owner: str
    model: str
    epoch: int
    created_at: float
    last_used_at: float
    expires_at: float | None
    title: str = ""
    is_listed: bool = True


@dataclass(frozen=True, slots=True)
class Listing:
    """What lists show of a stream; see ``StreamInfo``."""

    title: str
    model: str
    is_listed: bool = True


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Something in a stream that is listed over all streams of an owner. Of one name in a stream the last one counts.

    Attributes:
        at: lists are ordered by it, and by the name.
    """

    name: str
    at: float
    state: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Acquired:
    """A stream and its new epoch, with everything that earlier owners wrote and did not drop, in order."""

    info: StreamInfo
    records: tuple[bytes, ...]
    positions: Sequence[int]

    @property
    def end(self) -> int:
        """The position that the next record gets."""
        return self.positions[-1] + 1 if self.positions else 0


class Journal(Protocol):
    """Keeps streams. Every write is durable on return."""

    async def create(
        self, key: str, owner: str, model: str, records: Sequence[bytes], expires_at: float | None, title: str = ""
    ) -> Acquired:
        """A new stream at epoch 1, already acquired. The same key again, untouched since, is the same stream.

        Raises:
            IdTaken: the key is taken by a stream that has another owner or a later epoch.
        """
        ...

    async def acquire(self, key: str) -> Acquired:
        """Take the stream over: its epoch grows by one and every earlier owner is fenced.

        Raises:
            NotFound: no such stream.
        """
        ...

    async def records(self, key: str) -> tuple[bytes, ...]:
        """All records of a stream, in order, without taking it over.

        Raises:
            NotFound: no such stream.
        """
        ...

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
        """Add records at a position, and count as use. What is there already from this position on is left as it is.

        A listing that is not None becomes the stream's.

        Args:
            entries: of the index, which change with these records.
            drops: positions of records that are removed with this write, all before a record that stays; none where
                it does not begin at the end, as one that is repeated does not.

        Raises:
            Fenced: the epoch is not the stream's, or the stream is gone.
            RecordsMissing: there is a gap before the position.
        """
        ...

    async def delete(self, key: str, epoch: int | None = None) -> None:
        """Remove a stream; idempotent. With an epoch, only as its owner.

        Raises:
            Fenced: the epoch is not the stream's.
        """
        ...

    async def give(self, key: str, owner: str) -> None:
        """Make a stream another owner's; the process that has acquired it is fenced.

        Raises:
            NotFound: no such stream.
        """
        ...

    async def streams(self, owner: str | None = None) -> tuple[StreamInfo, ...]:
        """The streams of an owner (None: of all), the latest used first."""
        ...

    async def info(self, key: str) -> StreamInfo | None:
        """One stream; None where there is none."""
        ...

    async def expired(self, now: float) -> tuple[str, ...]:
        """Keys of streams whose ``expires_at`` is over."""
        ...

    async def entries(
        self, owner: str, state: str | None, before: tuple[float, str] | None, limit: int
    ) -> tuple[IndexEntry, ...]:
        """Entries of all streams of an owner, the newest first.

        Args:
            state: those that have it; None is any.
            before: only those that come after one of this time and name.
        """
        ...

    async def put_item(self, space: str, name: str, value: bytes) -> None:
        """Set a value that has no history."""
        ...

    async def get_item(self, space: str, name: str) -> bytes | None:
        """A value; None where there is none."""
        ...

    async def delete_item(self, space: str, name: str) -> bool:
        """Remove a value; whether it was there."""
        ...

    async def list_items(self, space: str, prefix: str = "") -> tuple[str, ...]:
        """The names in a space that begin so, in order."""
        ...
