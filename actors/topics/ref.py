"""The caller's side of the broker."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Any

from typing_extensions import override

from actors.calls.scope import Scope
from actors.settings import BrokerSettings
from actors.topics.incoming import Incoming
from actors.topics.messages import SubscribeRequest, shard_of
from actors.topics.outgoing import Outgoing
from actors.topics.shard_ref import ShardRef, shard_ref
from actors.topics.subscription import BrokerSubscription
from api.errors import GreenroomError
from api.names import MessageKey, TopicId
from api.queues import Pushed, QueueInfo, QueueItem
from api.topics import Cursor, Published, TopicInfo, Topics
from api.values import MAX_VALUE_BYTES, Value, decode, encode


class BrokerRef(Topics):
    """A reference to the broker, whatever its shards; a ``Topics``. One per process and event loop.

    It may be sent to other actors, where it is another process's. When a broker actor dies it waits for its restart,
    subscribes again at its places, and sends again what was not answered. A topic takes a message once; one that is
    not durable may, after the broker's death, show readers a message again that they saw in its last epoch.
    """

    PULL_S = 10.0

    def __init__(
        self, actors: Sequence[Any], timeout_s: float = 60.0, max_message_bytes: int = MAX_VALUE_BYTES
    ) -> None:
        self._actors = tuple(actors)
        self._timeout_s = timeout_s
        self.max_message_bytes = max_message_bytes
        self._process_id = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._shards = tuple(_Shard(shard_ref(actor, timeout_s), self._process_id) for actor in actors)

    def __reduce__(self) -> tuple[Any, ...]:
        return BrokerRef, (self._actors, self._timeout_s, self.max_message_bytes)

    @property
    def num_subscriptions(self) -> int:
        """Open subscriptions of this process."""
        return sum(shard.incoming.num_subscriptions for shard in self._shards)

    async def configure(self, settings: BrokerSettings) -> None:
        """Have every shard take new limits."""
        await asyncio.gather(*(shard.ref.configure(settings) for shard in self._shards))

    @override
    def publish(self, topic: TopicId, value: Value, key: MessageKey | None = None) -> asyncio.Future[Published]:
        data = encode(value, self.max_message_bytes)
        key = key or MessageKey(self._process_id, next(self._numbers))
        return self._shard(topic).published.put(topic, key.publisher, key.number, data)

    @override
    async def subscribe(
        self, topic: TopicId, *, subscriber: str | None = None, after: Cursor | None = None, replay: bool = True
    ) -> BrokerSubscription:
        request = SubscribeRequest("", topic, subscriber, after, replay)
        return await self._shard(topic).incoming.subscribe(request)

    @override
    async def delete(self, topic: TopicId) -> bool:
        return await self._shard(topic).ref.delete(topic)

    @override
    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        found = await asyncio.gather(*(shard.ref.topics(owner) for shard in self._shards))
        return tuple(sorted(itertools.chain(*found), key=lambda info: info.topic.name))

    @override
    def push(self, queue: TopicId, value: Value, key: MessageKey | None = None) -> asyncio.Future[Pushed]:
        data = encode(value, self.max_message_bytes)
        key = key or MessageKey(self._process_id, next(self._numbers))
        return self._shard(queue).pushed.put(queue, key.publisher, key.number, data)

    @override
    async def pull(
        self,
        queue: TopicId,
        timeout_s: float | None = None,
        lease_s: float | None = None,
        key: MessageKey | None = None,
    ) -> QueueItem:
        shard = self._shard(queue)
        await shard.gave_up()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            wait_s = self.PULL_S if deadline is None else min(self.PULL_S, max(0.0, deadline - time.monotonic()))
            item = await self._pull_once(shard, queue, wait_s, lease_s, key)
            if item:
                return item
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"nothing came into queue {queue.name!r}")

    @override
    async def ack(self, item: QueueItem) -> bool:
        shard = self._shard(item.queue)
        shard.incoming.let_go(item.receipt)
        return await shard.ref.ack(item.queue, item.position, item.receipt)

    @override
    async def release(self, item: QueueItem) -> None:
        shard = self._shard(item.queue)
        shard.incoming.let_go(item.receipt)
        await shard.ref.release(item.queue, item.receipt)

    @override
    async def leave(self, publisher: str) -> None:
        await asyncio.gather(*(shard.ref.leave(publisher) for shard in self._shards))

    @override
    async def delete_queue(self, queue: TopicId) -> bool:
        return await self._shard(queue).ref.delete_queue(queue)

    @override
    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        found = await asyncio.gather(*(shard.ref.queues(owner) for shard in self._shards))
        return tuple(sorted(itertools.chain(*found), key=lambda info: info.queue.name))

    async def _pull_once(
        self, shard: _Shard, queue: TopicId, wait_s: float, lease_s: float | None, consumer: MessageKey | None
    ) -> QueueItem | None:
        ticket = f"{self._process_id}-{next(self._numbers)}"
        try:
            handed = await shard.ref.pull(self._process_id, ticket, queue, wait_s, lease_s, consumer)
            if handed is None:
                return None
            value, until = decode(handed.data), handed.leased_until
        except BaseException:
            shard.give_up(queue, ticket)
            raise
        shard.incoming.hold(ticket, until)
        return QueueItem(queue, handed.position, value, handed.pushed_at, ticket, handed.num_deliveries, until)

    def _shard(self, topic: TopicId) -> _Shard:
        return self._shards[shard_of(topic, len(self._shards))]


class _Shard:
    """What this process has to do with one broker actor."""

    def __init__(self, ref: ShardRef, process_id: str) -> None:
        self.ref = ref
        self.incoming = Incoming(ref, process_id)
        self.published = Outgoing(ref.publish, Published)
        self.pushed = Outgoing(ref.push, lambda position, _: Pushed(position))
        self._giving_up = Scope()

    async def gave_up(self) -> None:
        """What earlier pulls of this process got, and did not take, is in its place again."""
        await self._giving_up.settled()

    def give_up(self, queue: TopicId, ticket: str) -> None:
        """This pull was cancelled, or has failed: what it gets goes back."""
        self._giving_up.start(self._release(queue, ticket))

    async def _release(self, queue: TopicId, ticket: str) -> None:
        try:
            await self.ref.release(queue, ticket)
        except GreenroomError:
            return  # its lease ends in any case
