"""A program's side of topics and queues."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress

from actors.calls.scope import Scope
from api.errors import GreenroomError, TopicNotFound, Unsupported
from api.inferlet import effects
from api.names import MessageKey, TopicId
from api.queues import Pushed, QueueItem
from api.topics import Cursor, Published, Subscription, TopicEvent, Topics
from api.values import Value


class Exchange:
    """Publishes, reads, pushes and pulls for one instance; what it publishes with one call is published once.

    ``topics`` is None where no broker runs; then every call raises ``Unsupported``. ``is_again`` where the program has
    had an earlier life.
    """

    LEAVE_S = 2.0

    def __init__(
        self, instance_id: str, owner: str, topics: Topics | None, scope: Scope, is_again: bool = False
    ) -> None:
        self._has_pulled = is_again
        self._id, self._owner = instance_id, owner
        self._found = topics
        self._subscriptions: dict[str, Subscription] = {}
        self._releasing = scope.part()

    def publish(self, topic: str, value: Value, call: int) -> Awaitable[effects.Accepted]:
        """See ``Topics.publish``. It takes effect when called."""
        return _accepted(self._topics.publish(TopicId(topic, self._owner), value, MessageKey(self._id, call)))

    def push(self, queue: str, value: Value, call: int) -> Awaitable[effects.Accepted]:
        """See ``Queues.push``. It takes effect when called."""
        return _accepted(self._topics.push(TopicId(queue, self._owner), value, MessageKey(self._id, call)))

    async def begin(self, topic: str, replay: bool) -> Cursor:
        """A place in a topic: nothing from there on is missed, whatever becomes of this subscription."""
        return (await self._subscribe(topic, replay=replay)).cursor

    async def next_event(self, effect: effects.NextTopicEvent) -> TopicEvent | None:
        """What comes after a place; a subscription that is there already goes on.

        Raises:
            TopicNotFound: the topic was deleted.
        """
        subscription = self._subscriptions.get(effect.topic)
        if subscription is None or subscription.cursor != effect.after:
            subscription = await self._subscribe(effect.topic, after=effect.after)
        try:
            return await subscription.recv(effect.timeout_s)
        except TimeoutError:
            return None
        except TopicNotFound:
            await self._leave(effect.topic)
            raise

    async def pull(self, queue: str, timeout_s: float | None, call: int) -> effects.Pulled | None:
        """See ``Queues.pull``; None where nothing came in time. A later life of the program gets the same item."""
        self._has_pulled = True
        await self._releasing.settled()
        try:
            key = MessageKey(self._id, call)
            item = await self._topics.pull(TopicId(queue, self._owner), timeout_s, key=key)
        except TimeoutError:
            return None
        return effects.Pulled(queue, item.position, item.value, item.receipt, item.num_deliveries)

    async def acknowledge(self, item: effects.Pulled) -> bool:
        """See ``Queues.ack``."""
        return await self._topics.ack(self._item(item))

    async def release(self, item: effects.Pulled) -> None:
        """See ``Queues.release``."""
        await self._topics.release(self._item(item))

    def release_soon(self, item: effects.Pulled) -> None:
        """The same, soon: the program did not take it."""
        self._releasing.start(self._release(item))

    async def leave(self) -> None:
        """The program has ended: what it has pulled, and did not acknowledge, goes to others at once."""
        if self._found is not None and self._has_pulled:
            leaving = self._releasing.start(self._leave_queues(self._found))
            await asyncio.wait((leaving,), timeout=self.LEAVE_S)

    async def close(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions.values():
            await subscription.close()

    async def _release(self, item: effects.Pulled) -> None:
        with suppress(GreenroomError):  # else its lease ends
            await self.release(item)

    async def _leave_queues(self, topics: Topics) -> None:
        with suppress(GreenroomError):
            await topics.leave(self._id)

    async def _subscribe(self, topic: str, after: Cursor | None = None, replay: bool = True) -> Subscription:
        await self._leave(topic)
        subscription = await self._topics.subscribe(TopicId(topic, self._owner), after=after, replay=replay)
        self._subscriptions[topic] = subscription
        return subscription

    async def _leave(self, topic: str) -> None:
        subscription = self._subscriptions.pop(topic, None)
        if subscription:
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
