"""What travels between the broker and the processes that use it. Values travel encoded (see ``api.values``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from zlib import crc32

from api.errors import GreenroomError
from api.names import TopicId
from api.topics import Cursor

Entry: TypeAlias = tuple[int, float, bytes]
"""A message: position, time of publishing, encoded value. A plain tuple, since a reply carries thousands of them."""


def shard_of(topic: TopicId, num_shards: int) -> int:
    """Which shard of the broker keeps a topic or queue."""
    return crc32(f"{topic.owner}\n{topic.name}".encode()) % num_shards


@dataclass(frozen=True, slots=True)
class Lane:
    """Messages of one publisher to one topic or queue, in order, each with the publisher's number for it."""

    topic: TopicId
    publisher: str
    messages: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class LaneAnswer:
    """How far a lane was accepted; ``refusal`` says why not to the end, None that there was no room yet.

    ``positions`` are those of the first messages of the lane; -1 for one that is known but no longer retained.
    """

    positions: tuple[int, ...]
    num_subscribers: int = 0
    refusal: GreenroomError | None = None


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """See ``Topics.subscribe``. The same ``subscription_id`` again is the same subscription."""

    subscription_id: str
    topic: TopicId
    subscriber: str | None = None
    after: Cursor | None = None
    replay: bool = True


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription as it begins: the next position is ``next``.

    Attributes:
        is_new_epoch: the place that was asked for lies in an epoch that is over.
        reports_progress: publishers wait for this reader; it tells soon when it has read.
    """

    epoch: str
    next: int
    is_new_epoch: bool
    reports_progress: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reader is: it has handed out what is before ``done``, and asks for ``next`` (None: for nothing now)."""

    done: int
    next: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries without gap from ``first`` on; what lies between the position that was asked for and it, is lost."""

    epoch: str
    first: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class PollReply:
    """What is new in the subscriptions of a reader.

    Attributes:
        unknown: subscriptions that are not known here, or no longer.
        deleted: subscriptions whose topic was deleted.
    """

    batches: Mapping[str, Batch]
    unknown: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handed:
    """A queue's item as it is handed to a consumer; times are seconds since the epoch of the clock."""

    position: int
    pushed_at: float
    data: bytes
    num_deliveries: int
    leased_until: float
