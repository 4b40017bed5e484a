"""Topics: the names, the messages, and the calls that the cluster's broker answers. Queues are in ``api.queues``.

A topic is a log that anybody of its owner publishes to and reads from; it keeps its latest messages for a while. Its
*epoch* names one life of it: after the broker's death a topic that is not durable begins another, with other
positions.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from api.errors import Closed, InvalidRequest
from api.names import MessageKey, TopicId
from api.queues import Queues
from api.values import Value


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last position that was read, in an epoch: reading goes on after it. Its text is ``epoch:position``.

    Without an epoch (then its text is the position alone) it means whichever the topic is in.
    """

    epoch: str
    position: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.position}" if self.epoch else str(self.position)

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor of this text.

        Raises:
            InvalidRequest: it is not one.
        """
        epoch, _, digits = text.rpartition(":")
        if not digits.removeprefix("-").isdecimal() or len(digits) > 18:
            raise InvalidRequest(f"a place in a topic is written epoch:position, not {text[:64]!r}")
        return cls(epoch, int(digits))


class Placed:
    """What has a position in an epoch of a topic."""

    __slots__ = ()
    position: int
    epoch: str

    @property
    def cursor(self) -> Cursor:
        """Where to go on."""
        return Cursor(self.epoch, self.position)


@dataclass(frozen=True, slots=True)
class TopicMessage(Placed):
    """A message; positions of one epoch grow by one. ``published_at`` is in seconds since the epoch of the clock."""

    position: int
    value: Value
    published_at: float
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Lagged(Placed):
    """The reader was too slow: ``missed`` messages, the last of them at ``position``, are no longer retained."""

    missed: int
    position: int = -1
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class NewEpoch(Placed):
    """The topic has begun anew since it was read last, so that messages may be missing; the oldest one comes next."""

    epoch: str
    position: int = -1


TopicEvent: TypeAlias = TopicMessage | Lagged | NewEpoch


@dataclass(frozen=True, slots=True)
class Published:
    """The message was accepted.

    Attributes:
        position: -1 where it had been published before (see ``MessageKey``) and is no longer retained.
        num_subscribers: that are live now.
    """

    position: int
    num_subscribers: int


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic in a list: it retains the positions from ``first`` up to, not including, ``end``.

    ``rate`` is in messages a second, over the last seconds.
    """

    topic: TopicId
    epoch: str
    first: int
    end: int
    num_subscribers: int
    rate: float
    is_durable: bool


class Subscription(Protocol):
    """A reader of one topic, with a place of its own in it. Use it as an async context manager, or ``close`` it.

    ``async for event in subscription`` reads all; it ends when the subscription is closed.
    """

    topic: TopicId

    @property
    def cursor(self) -> Cursor:
        """Where it is: after what was taken last."""
        ...

    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        """The next event: a message, or the news that some are missing. What a cancelled call did not take, stays.

        Raises:
            TimeoutError: nothing came within ``timeout_s``.
            Closed: the subscription is closed.
            TopicNotFound: the topic was deleted; there will be nothing more.
            Unavailable: the broker cannot be reached; call again to go on.
        """
        ...

    async def close(self) -> None:
        """End it. Idempotent."""
        ...

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> TopicEvent:
        """See ``recv``."""
        try:
            return await self.recv()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self.close()


class Topics(Queues, Protocol):
    """The broker, as programs and routes see it: topics, and queues.

    All calls raise ``Unavailable`` when it cannot be reached in time.
    """

    def publish(self, topic: TopicId, value: Value, key: MessageKey | None = None) -> Awaitable[Published]:
        """Append a message. It takes effect when called, in the order of the calls; await it to know it accepted.

        Raises:
            InvalidRequest, TooLarge: at once; the value is not a message.
            TooBusy: the topic is full and its policy is to refuse, or there are as many topics as are allowed.
        """
        ...

    async def subscribe(
        self, topic: TopicId, *, subscriber: str | None = None, after: Cursor | None = None, replay: bool = True
    ) -> Subscription:
        """Read a topic, with a place in it from now on.

        Args:
            subscriber: whose place it is: a later one of the same name goes on where this one stopped, for as long as
                the topic retains its messages; None is somebody new each time.
            after: go on after this place; it goes before all else.
            replay: begin with the oldest message that is retained; False: with the next one.

        Raises:
            TooBusy: there are as many subscriptions or topics as are allowed.
        """
        ...

    async def delete(self, topic: TopicId) -> bool:
        """Delete a topic with its messages; whether it was there. Its subscriptions end, and say so.

        Who publishes to it or subscribes to it afterwards begins another of this name.
        """
        ...

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """The topics of an owner and the public ones, by name."""
        ...
