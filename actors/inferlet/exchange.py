"""A program's side of topics and queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from api.errors import Unsupported
from api.inferlet import effects
from api.topics import Cursor, MessageKey, Published, Pushed, QueueItem, Subscription, TopicEvent, TopicId, Topics
from api.values import Value


class Exchange:
    """Publishes, reads, pushes and pulls for one instance; what it publishes with one call is published once.

    ``topics`` is None where no broker runs; then every call raises ``Unsupported``.
    """

    def __init__(self, instance_id: str, owner: str, topics: Topics | None) -> None:
        self._id, self._owner = instance_id, owner
        self._found = topics
        self._subscriptions: dict[str, tuple[Subscription, Cursor | None]] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def publish(self, topic: str, value: Value, call: int) -> Awaitable[effects.Accepted]:
        """See ``Topics.publish``. It takes effect when called."""
        return _accepted(self._topics.publish(TopicId(topic, self._owner), value, MessageKey(self._id, call)))

    def push(self, queue: str, value: Value, call: int) -> Awaitable[effects.Accepted]:
        """See ``Topics.push``. It takes effect when called."""
        return _accepted(self._topics.push(TopicId(queue, self._owner), value, MessageKey(self._id, call)))

    async def next_event(self, effect: effects.NextTopicEvent) -> TopicEvent | None:
        """What comes behind a place; a subscription that is there already goes on."""
        subscription, cursor = self._subscriptions.pop(effect.topic, (None, None))
        if subscription is None or cursor != effect.after:
            if subscription:
                await subscription.close()
            topic = TopicId(effect.topic, self._owner)
            subscription = await self._topics.subscribe(
                topic, subscriber=self._id, after=effect.after, replay=effect.replay
            )
        after = effect.after
        try:
            event = await subscription.recv(effect.timeout_s)
            after = event.cursor
            return event
        except TimeoutError:
            return None
        finally:
            self._subscriptions[effect.topic] = (subscription, after)

    async def pull(self, queue: str, timeout_s: float | None) -> effects.Pulled | None:
        """See ``Topics.pull``; None where nothing came in time."""
        try:
            item = await self._topics.pull(TopicId(queue, self._owner), timeout_s)
        except TimeoutError:
            return None
        return effects.Pulled(queue, item.position, item.value, item.receipt, item.num_deliveries)

    async def acknowledge(self, item: effects.Pulled) -> bool:
        """See ``Topics.ack``."""
        return await self._topics.ack(self._item(item))

    async def release(self, item: effects.Pulled) -> None:
        """See ``Topics.release``."""
        await self._topics.release(self._item(item))

    def give_back(self, item: effects.Pulled) -> None:
        """The same, soon: the program did not take it."""
        releasing = asyncio.create_task(self.release(item))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def close(self) -> None:
        """End the subscriptions."""
        for subscription, _ in self._subscriptions.values():
            await subscription.close()

    def _item(self, item: effects.Pulled) -> QueueItem:
        queue = TopicId(item.queue, self._owner)
        return QueueItem(queue, item.position, item.value, 0.0, item.receipt, item.num_deliveries, 0.0)

    @property
    def _topics(self) -> Topics:
        if self._found is None:
            raise Unsupported("no broker runs here")
        return self._found


async def _accepted(receipt: Awaitable[Published] | Awaitable[Pushed]) -> effects.Accepted:
    found = await receipt
    return effects.Accepted(found.position, found.num_subscribers if isinstance(found, Published) else 0)
