"""A broker in memory that takes a publisher's number once, and knows its subscribers by name."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from api.errors import Conflict
from api.topics import (
    Cursor,
    MessageKey,
    Published,
    Pushed,
    QueueItem,
    TopicEvent,
    TopicId,
    TopicInfo,
    TopicMessage,
)
from api.values import Value


class TopicsInSmall:
    """Topics that keep everything, and queues whose items are taken once."""

    def __init__(self) -> None:
        self.messages: dict[TopicId, list[TopicMessage]] = {}
        self.acknowledged: list[int] = []
        self._seen: set[tuple[TopicId, MessageKey]] = set()
        self._items: dict[TopicId, list[QueueItem]] = {}
        self._grown = asyncio.Event()

    async def publish(self, topic: TopicId, value: Value, key: MessageKey | None = None) -> Published:
        """See ``Topics``."""
        messages = self.messages.setdefault(topic, [])
        if key is None or (topic, key) not in self._seen:
            if key:
                self._seen.add((topic, key))
            messages.append(TopicMessage(len(messages), value, 0.0, "epoch"))
            self._wake()
        return Published(len(messages) - 1, 1)

    async def subscribe(
        self, topic: TopicId, *, subscriber: str | None = None, after: Cursor | None = None, replay: bool = True
    ) -> SubscriptionInSmall:
        """See ``Topics``."""
        start = 0 if replay else len(self.messages.get(topic, ()))
        return SubscriptionInSmall(self, topic, after.position + 1 if after else start)

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """None that anybody lists."""
        return ()

    async def push(self, queue: TopicId, value: Value, key: MessageKey | None = None) -> Pushed:
        """See ``Topics``."""
        items = self._items.setdefault(queue, [])
        items.append(QueueItem(queue, len(items), value, 0.0, f"receipt-{len(items)}", 1, 0.0))
        self._wake()
        return Pushed(len(items) - 1)

    async def pull(self, queue: TopicId, timeout_s: float | None = None, lease_s: float | None = None) -> QueueItem:
        """See ``Topics``."""
        async with asyncio.timeout(timeout_s):
            while not self._items.get(queue):
                await self.wait()
        return self._items[queue].pop(0)

    async def ack(self, item: QueueItem) -> bool:
        """See ``Topics``."""
        self.acknowledged.append(item.position)
        return True

    async def release(self, item: QueueItem) -> None:
        """See ``Topics``."""
        self._items[item.queue].insert(0, item)
        self._wake()

    async def wait(self) -> None:
        """Until something has come."""
        await self._grown.wait()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


class SubscriptionInSmall:
    """A place in a topic."""

    def __init__(self, topics: TopicsInSmall, topic: TopicId, position: int) -> None:
        self.topic = topic
        self._topics = topics
        self._position = position
        self._is_closed = False

    @property
    def cursor(self) -> Cursor:
        """See ``Subscription``."""
        return Cursor("epoch", self._position)

    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        """See ``Subscription``."""
        if self._is_closed:
            raise Conflict("closed")
        async with asyncio.timeout(timeout_s):
            while len(self._topics.messages.get(self.topic, ())) <= self._position:
                await self._topics.wait()
        self._position += 1
        return self._topics.messages[self.topic][self._position - 1]

    async def close(self) -> None:
        """See ``Subscription``."""
        self._is_closed = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TopicEvent:
        return await self.recv()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
