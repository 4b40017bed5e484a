"""A broker in memory: the calls of ``api.topics`` over lists."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import TracebackType
from typing import Self

from api.errors import Closed, GreenroomError, TopicNotFound
from api.names import MessageKey, TopicId
from api.queues import Pushed, QueueInfo, QueueItem
from api.topics import Cursor, Lagged, NewEpoch, Published, TopicEvent, TopicInfo, TopicMessage
from api.values import Value, decode, encode


class FakeTopics:
    """Topics and queues of one event loop; each topic keeps everything.

    Attributes:
        epoch: of all topics; ``begin_anew`` gives them another.
        first: positions before this one are no longer retained.
        refusal: raised by the next call, once.
        num_subscribers: open subscriptions.
    """

    def __init__(self) -> None:
        self.epoch = "e1"
        self.first = 0
        self.refusal: GreenroomError | None = None
        self.num_subscribers = 0
        self.deleted: set[TopicId] = set()
        self.messages: defaultdict[TopicId, list[TopicMessage]] = defaultdict(list)
        self.changed = asyncio.Condition()
        self._items: defaultdict[TopicId, list[QueueItem]] = defaultdict(list)

    async def publish(self, topic: TopicId, value: Value, key: MessageKey | None = None) -> Published:
        """Append it."""
        self._refuse()
        messages = self.messages[topic]
        messages.append(TopicMessage(len(messages), decode(encode(value)), 1.5, self.epoch))
        async with self.changed:
            self.changed.notify_all()
        return Published(len(messages) - 1, self.num_subscribers)

    async def subscribe(
        self, topic: TopicId, *, subscriber: str | None = None, after: Cursor | None = None, replay: bool = True
    ) -> FakeSubscription:
        """A reader from there on."""
        self._refuse()
        self.num_subscribers += 1
        async with self.changed:
            self.changed.notify_all()
        position = (after.position + 1 if after else 0) if replay else len(self.messages[topic])
        return FakeSubscription(self, topic, position, after.epoch if after else self.epoch)

    async def begin_anew(self) -> None:
        """Lose everything."""
        self.epoch += "+"
        self.messages.clear()
        async with self.changed:
            self.changed.notify_all()

    async def delete(self, topic: TopicId) -> bool:
        """Without its messages its readers end."""
        was_there = self.messages.pop(topic, None) is not None
        self.deleted.add(topic)
        async with self.changed:
            self.changed.notify_all()
        return was_there

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """Those that were published to."""
        mine = [topic for topic in self.messages if topic.is_public or topic.owner == owner]
        return tuple(
            TopicInfo(topic, self.epoch, self.first, len(self.messages[topic]), self.num_subscribers, 0.5, False)
            for topic in sorted(mine, key=lambda topic: topic.name)
        )

    async def push(self, queue: TopicId, value: Value, key: MessageKey | None = None) -> Pushed:
        """Append it."""
        items = self._items[queue]
        items.append(QueueItem(queue, len(items), value, 1.5, f"receipt-{len(items)}", 1, 61.5))
        async with self.changed:
            self.changed.notify_all()
        return Pushed(len(items) - 1)

    async def leave(self, publisher: str) -> None:
        """Not faked."""
        raise NotImplementedError

    async def pull(
        self,
        queue: TopicId,
        timeout_s: float | None = None,
        lease_s: float | None = None,
        key: MessageKey | None = None,
    ) -> QueueItem:
        """Take the first one out."""
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(lambda: self._items[queue])
            return self._items[queue].pop(0)

    async def ack(self, item: QueueItem) -> bool:
        """Always in time."""
        return True

    async def release(self, item: QueueItem) -> None:
        """Back to the front."""
        self._items[item.queue].insert(0, item)

    async def delete_queue(self, queue: TopicId) -> bool:
        """With its items."""
        return self._items.pop(queue, None) is not None

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """Those that were pushed to."""
        mine = sorted((queue.name, queue) for queue in self._items if queue.is_public or queue.owner == owner)
        return tuple(QueueInfo(queue, len(self._items[queue]), 1, 2, False) for _, queue in mine)

    def _refuse(self) -> None:
        if self.refusal:
            refusal, self.refusal = self.refusal, None
            raise refusal


class FakeSubscription:
    """Reads the list from a position on."""

    def __init__(self, topics: FakeTopics, topic: TopicId, position: int, epoch: str) -> None:
        self.topic = topic
        self._topics = topics
        self._position = position
        self._epoch = epoch
        self._is_open = True

    @property
    def cursor(self) -> Cursor:
        """Where it is."""
        return Cursor(self._epoch, self._position - 1)

    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        """The next event."""
        async with asyncio.timeout(timeout_s), self._topics.changed:
            while self._is_open:
                if self.topic in self._topics.deleted:
                    raise TopicNotFound(self.topic.name)
                if event := self._event():
                    self._position, self._epoch = event.position + 1, event.epoch
                    return event
                await self._topics.changed.wait()
        raise Closed("the subscription is closed")

    async def close(self) -> None:
        """End it."""
        if self._is_open:
            self._is_open = False
            self._topics.num_subscribers -= 1
            async with self._topics.changed:
                self._topics.changed.notify_all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TopicEvent:
        try:
            return await self.recv()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _event(self) -> TopicEvent | None:
        if self._epoch != self._topics.epoch:
            return NewEpoch(self._topics.epoch, -1)
        if self._position < self._topics.first:
            return Lagged(self._topics.first - self._position, self._topics.first - 1, self._epoch)
        messages = self._topics.messages[self.topic]
        return messages[self._position] if self._position < len(messages) else None
