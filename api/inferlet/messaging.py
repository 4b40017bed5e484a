"""Talking: to the user, over topics, and through work queues."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from dataclasses import dataclass
from typing import Any

from api.inferlet.checks import checked_timeout
from api.inferlet.effects import (
    Accepted,
    Acknowledge,
    BeginTopic,
    Broadcast,
    NextTopicEvent,
    Pull,
    Pulled,
    Push,
    Receive,
    Release,
    Send,
)
from api.inferlet.host import Place, host
from api.names import TopicId
from api.topics import TopicEvent, TopicMessage
from api.values import Value, snapshot


def send(message: Value) -> Awaitable[None]:
    """A message to the clients that are attached, now or later: text, bytes or JSON. Await it for back-pressure.

    Raises:
        InvalidRequest: it is none of the three.
        TooLarge: it has more than 1 MiB.
    """
    return host().begin(Send(snapshot(message)))


async def recv(timeout_s: float | None = None) -> Any:
    """The next message from a client, in the order in which they came.

    Raises:
        TimeoutError: none came in time. Nothing is lost by it.
    """
    received = await host().begin(Receive(checked_timeout(timeout_s)))
    if received is None:
        raise TimeoutError(f"no message came within {timeout_s} s")
    return received.value


def broadcast(message: Value, topic: str) -> Awaitable[Accepted]:
    """A message to all who read this topic. Awaiting it says its position and how many live subscribers there are.

    Raises:
        InvalidRequest, TooLarge: at once; see ``api.values`` and ``TopicId``.
        TooBusy: when awaited; the topic is full and refuses.
    """
    TopicId(topic)
    return host().begin(Broadcast(topic, snapshot(message)))


def subscribe(topic: str, replay: bool = True) -> TopicReader:
    """Read a topic from its oldest retained message on, or (no replay) from the next one.

    ``await subscribe(topic)`` is the next message, ``async for message in subscribe(topic)`` all of them. A program
    has one place in each topic: another ``subscribe`` goes on there. A ``Lagged`` or a ``NewEpoch`` among the messages
    says that some are missing.
    """
    TopicId(topic)
    return TopicReader(topic, replay)


class TopicReader:
    """This program's place in a topic."""

    def __init__(self, topic: str, replay: bool) -> None:
        self.topic = topic
        self._replay = replay

    def __await__(self) -> Generator[Any, None, Any]:
        return self.recv().__await__()

    async def __aiter__(self) -> AsyncGenerator[Any]:
        while True:
            yield await self.recv()

    async def recv(self, timeout_s: float | None = None) -> Any:
        """The next message's value, or the news that some are missing.

        Raises:
            TimeoutError: nothing came in time.
        """
        event = await self.event(timeout_s)
        return event.value if isinstance(event, TopicMessage) else event

    async def event(self, timeout_s: float | None = None) -> TopicEvent:
        """The same with its position.

        Raises:
            TopicNotFound: the topic was deleted; reading on begins with the ``NewEpoch`` of another one of this name.
        """
        timeout_s = checked_timeout(timeout_s)
        place = host().places.setdefault(self.topic, Place())
        async with place.lock:
            if place.cursor is None:
                place.cursor = await host().begin(BeginTopic(self.topic, self._replay))
            event = await host().begin(NextTopicEvent(self.topic, place.cursor, timeout_s))
            if event is None:
                raise TimeoutError(f"nothing came in {self.topic!r} within {timeout_s} s")
            place.cursor = event.cursor
            return event


def push(item: Value, queue: str) -> Awaitable[Accepted]:
    """An item into a work queue. Awaiting it says its position.

    Raises:
        InvalidRequest, TooLarge: at once.
        TooBusy: when awaited; the queue is full.
    """
    TopicId(queue)
    return host().begin(Push(queue, snapshot(item)))


async def pull(queue: str, timeout_s: float | None = None) -> Item:
    """The oldest item of a work queue that no consumer has; it is this program's until it is acknowledged.

    Raises:
        TimeoutError: none came in time.
    """
    TopicId(queue)
    pulled = await host().begin(Pull(queue, checked_timeout(timeout_s)))
    if pulled is None:
        raise TimeoutError(f"nothing came in {queue!r} within {timeout_s} s")
    return Item(pulled)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a work queue. What is not acknowledged in time goes to another."""

    pulled: Pulled

    @property
    def value(self) -> Any:
        """The item itself."""
        return self.pulled.value

    @property
    def num_deliveries(self) -> int:
        """1 for the first delivery."""
        return self.pulled.num_deliveries

    async def ack(self) -> bool:
        """It is done. False where it came too late, and the item is another's."""
        return await host().begin(Acknowledge(self.pulled))

    async def release(self) -> None:
        """Give it back, for another."""
        await host().begin(Release(self.pulled))
