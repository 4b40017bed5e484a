"""A broker in memory: the calls of ``api.topics`` over lists."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import Self

from api.errors import Closed, GreenroomError, TopicNotFound
from api.names import MessageKey, TopicId
from api.topics import Cursor, Lagged, NewEpoch, Published, TopicEvent, TopicInfo, TopicMessage
from api.values import Value, decode, encode
from tests.api.fake_queues import FakeQueues


class FakeTopics(FakeQueues):
    """Topics and queues of one event loop; each topic keeps everything.

    Attributes:
        epoch: of all topics; ``begin_anew`` gives them another.
        first: positions before this one are no longer retained.
        refusal: raised by the next call, once.
        num_subscribers: open subscriptions.
        places: where subscribers with a name have stopped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = "e1"
        self.first = 0
        self.refusal: GreenroomError | None = None
        self.subscribers: Counter[TopicId] = Counter()
        self.num_deleted: Counter[TopicId] = Counter()
        self.places: dict[tuple[TopicId, str], int] = {}
        self.messages: defaultdict[TopicId, list[TopicMessage]] = defaultdict(list)
        self._positions: dict[tuple[TopicId, str], tuple[int, int]] = {}

    @property
    def num_subscribers(self) -> int:
        """Open subscriptions."""
        return self.subscribers.total()

    def publish(self, topic: TopicId, value: Value, key: MessageKey | None = None) -> asyncio.Task[Published]:
        """Append it at once, or once for each key."""
        copy = decode(encode(value))
        try:
            self._refuse()
        except GreenroomError as refusal:
            return self.later(refusal)
        messages = self.messages[topic]
        publisher = (topic, key.publisher if key else "")
        number, position = self._positions.get(publisher, (-1, -1))
        if key is None or key.number > number:
            position = len(messages)
            messages.append(TopicMessage(position, copy, 1.5, self.epoch))
        if key is not None:
            self._positions[publisher] = max(number, key.number), position
        return self.later(Published(position, self.subscribers[topic]))

    async def subscribe(
        self, topic: TopicId, *, subscriber: str | None = None, after: Cursor | None = None, replay: bool = True
    ) -> FakeSubscription:
        """A reader from there on."""
        self._refuse()
        self.subscribers[topic] += 1
        position = 0 if replay else len(self.messages[topic])
        position = self.places.get((topic, subscriber or ""), position)
        if after:
            position = after.position + 1
        await self.announce()
        return FakeSubscription(self, topic, subscriber, position, after.epoch if after else self.epoch)

    async def begin_anew(self) -> None:
        """Lose everything."""
        self.epoch += "+"
        self.messages.clear()
        await self.announce()

    async def delete(self, topic: TopicId) -> bool:
        """Without its messages its readers end."""
        was_there = self.messages.pop(topic, None) is not None
        self.num_deleted[topic] += 1
        await self.announce()
        return was_there

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """Those that were published to."""
        mine = [topic for topic in self.messages if topic.is_public or topic.owner == owner]
        return tuple(
            TopicInfo(topic, self.epoch, self.first, len(self.messages[topic]), self.subscribers[topic], 0.5, False)
            for topic in sorted(mine, key=lambda topic: topic.name)
        )

    def _refuse(self) -> None:
        if self.refusal:
            refusal, self.refusal = self.refusal, None
            raise refusal


class FakeSubscription:
    """Reads the list from a position on."""

    def __init__(self, topics: FakeTopics, topic: TopicId, subscriber: str | None, position: int, epoch: str) -> None:
        self.topic = topic
        self._topics = topics
        self._subscriber = subscriber
        self._position = position
        self._epoch = epoch
        self._num_deleted = topics.num_deleted[topic]
        self._is_open = True

    @property
    def cursor(self) -> Cursor:
        """Where it is."""
        return Cursor(self._epoch, self._position - 1)

    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        """The next event."""
        async with asyncio.timeout(timeout_s), self._topics.changed:
            while self._is_open:
                if self._topics.num_deleted[self.topic] != self._num_deleted:
                    raise TopicNotFound(self.topic.name)
                if event := self._event():
                    self._position, self._epoch = event.position + 1, event.epoch
                    if self._subscriber:
                        self._topics.places[self.topic, self._subscriber] = self._position
                    return event
                await self._topics.changed.wait()
        raise Closed("the subscription is closed")

    async def close(self) -> None:
        """End it."""
        if self._is_open:
            self._is_open = False
            self._topics.subscribers[self.topic] -= 1
            await self._topics.announce()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TopicEvent:
        try:
            return await self.recv()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _event(self) -> TopicEvent | None:
        if self._epoch != self._topics.epoch:
            return NewEpoch(self._topics.epoch, -1)
        if self._position < self._topics.first:
            return Lagged(self._topics.first - self._position, self._topics.first - 1, self._epoch)
        messages = self._topics.messages[self.topic]
        return messages[self._position] if self._position < len(messages) else None
