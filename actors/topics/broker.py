"""The broker: routes messages by topic, keeps them for a while, and hands out the items of queues."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actors.journal.contract import Journal
from actors.settings import BrokerSettings
from actors.topics.catalogue import Catalogue
from actors.topics.leases import Ticket
from actors.topics.messages import (
    Handed,
    Lane,
    LaneAnswer,
    PollReply,
    Progress,
    Subscribed,
    SubscribeRequest,
)
from actors.topics.polls import wait_for_batches
from actors.topics.queue import Queue
from actors.topics.readers import Readers
from actors.topics.topic import Reader, Topic
from api.errors import Fenced, GreenroomError, TooBusy, Unavailable
from api.names import MessageKey, TopicId
from api.queues import QueueInfo
from api.topics import TopicInfo

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class BrokerLoad:
    """What a broker has. ``lag`` is of the slowest of all subscribers, in messages; items are those of queues."""

    num_topics: int
    num_queues: int
    num_subscriptions: int
    num_ready_items: int
    num_held_items: int
    lag: int


class Broker:
    """The topics and queues of one shard. Belongs to one event loop; ``sweep`` it every second or so.

    ``ShardRef`` says what its calls do.

    Args:
        shard: this one of ``settings.num_shards``.
        clock: seconds since the epoch of the clock.
        on_fenced: called when another broker has taken over what this one keeps in the journal.
    """

    MAX_GIVEN_UP = 1024

    def __init__(
        self,
        settings: BrokerSettings,
        journal: Journal,
        clock: Callable[[], float],
        shard: int = 0,
        on_fenced: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._shard = shard
        self._on_fenced = on_fenced
        self._catalogue = Catalogue(settings, journal, clock)
        self._num_subscriptions = 0
        self._given_up: deque[str] = deque(maxlen=self.MAX_GIVEN_UP)
        self._readers = Readers()

    async def start(self) -> None:
        """Take over what is durable; comes before all other calls."""
        now = self._clock()
        for reader_id in await self._catalogue.restore(self._shard):
            self._readers.touch(reader_id, now)

    async def configure(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._catalogue.configure(settings)

    async def publish(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        return await self._accept_all(lanes, self._catalogue.topic, wait_s)

    async def push(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        return await self._accept_all(lanes, self._catalogue.queue, wait_s)

    async def subscribe(
        self, reader_id: str, requests: Sequence[SubscribeRequest]
    ) -> tuple[Subscribed | GreenroomError, ...]:
        reader = self._readers.touch(reader_id, self._clock())
        return tuple(self._subscribe(reader, request) for request in requests)

    async def unsubscribe(self, reader_id: str, done: Mapping[str, int]) -> None:
        reader = self._readers.touch(reader_id, self._clock())
        for subscription_id, position in done.items():
            subscription = reader.subscriptions.get(subscription_id)
            if subscription:
                subscription.topic.advance(subscription, position)
                self._end(reader, subscription_id)

    async def poll(self, reader_id: str, progress: Mapping[str, Progress], wait_s: float) -> PollReply:
        reader = self._readers.touch(reader_id, self._clock())
        reader.ended.intersection_update(progress)
        unknown = tuple(key for key in progress if key not in reader.subscriptions and key not in reader.ended)
        wanted: dict[str, int] = {}
        for subscription_id, place in progress.items():
            subscription = reader.subscriptions.get(subscription_id)
            if subscription:
                subscription.topic.advance(subscription, place.done)
                if place.next is not None:
                    wanted[subscription_id] = place.next
        reader.num_calls += 1
        try:
            wait_s = 0.0 if unknown or reader.ended else wait_s
            batches = await wait_for_batches(reader, wanted, wait_s, self._settings.poll_interval_s)
        finally:
            reader.num_calls -= 1
            reader.seen_at = self._clock()
        return PollReply(batches, unknown, tuple(reader.ended.intersection(progress)))

    async def pull(
        self,
        reader_id: str,
        ticket: str,
        queue: TopicId,
        wait_s: float,
        lease_s: float | None,
        consumer: MessageKey | None = None,
    ) -> Handed | None:
        reader = self._readers.touch(reader_id, self._clock())
        if ticket in self._given_up:
            return None
        reader.num_calls += 1
        try:
            asked = Ticket(ticket, reader_id, lease_s, consumer)
            return await self._fenced(self._catalogue.queue(queue).pull(asked, wait_s))
        finally:
            reader.num_calls -= 1
            reader.seen_at = self._clock()

    async def ack(self, queue: TopicId, position: int, ticket: str) -> bool:
        found = self._catalogue.queues.get(queue)
        return found is not None and await self._fenced(found.ack(position, ticket))

    async def release(self, queue: TopicId, ticket: str) -> None:
        self._given_up.append(ticket)
        found = self._catalogue.queues.get(queue)
        if found is not None:
            await self._fenced(found.release(ticket))

    async def leave(self, publisher: str) -> None:
        for queue in list(self._catalogue.queues.values()):
            await self._fenced(queue.leave(publisher))

    async def delete(self, key: TopicId) -> bool:
        topic = self._catalogue.topics.get(key)
        if topic is None:
            return False
        await self._fenced(topic.delete())
        self._catalogue.remove(topic)
        for reader in topic.readers:
            ended = [id for id, subscription in reader.subscriptions.items() if subscription.topic is topic]
            for subscription_id in ended:
                self._end(reader, subscription_id)
            reader.ended.update(ended)
            reader.end_poll()
        return True

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        now = self._clock()
        topics = self._catalogue.topics
        return tuple(topic.info(now) for key, topic in topics.items() if key.is_public or key.owner == owner)

    async def delete_queue(self, key: TopicId) -> bool:
        queue = self._catalogue.queues.get(key)
        if queue is None:
            return False
        await self._fenced(queue.delete())
        self._catalogue.remove(queue)
        return True

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        queues = self._catalogue.queues
        return tuple(queue.info for key, queue in queues.items() if key.is_public or key.owner == owner)

    @property
    def load(self) -> BrokerLoad:
        """What there is now."""
        topics, queues = self._catalogue.topics.values(), [queue.info for queue in self._catalogue.queues.values()]
        num_ready, num_held = sum(queue.num_ready for queue in queues), sum(queue.num_held for queue in queues)
        lag = max((topic.lag for topic in topics), default=0)
        return BrokerLoad(len(topics), len(queues), self._num_subscriptions, num_ready, num_held, lag)

    async def sweep(self) -> None:
        """Drop old messages, silent readers, expired leases, unused topics."""
        now = self._clock()
        for reader in self._readers.remove_silent(now, self._settings.reader_timeout_s):
            for subscription_id in list(reader.subscriptions):
                self._end(reader, subscription_id)
        for topic in list(self._catalogue.topics.values()):
            topic.trim(now)
            await self._fenced(topic.drop_records())
        for queue in list(self._catalogue.queues.values()):
            queue.expire(now, self._readers.is_alive)
            await self._fenced(queue.drop_records())
        self._catalogue.forget_idle()

    async def _accept_all(
        self, lanes: Sequence[Lane], find: Callable[[TopicId], Topic | Queue], wait_s: float
    ) -> tuple[LaneAnswer, ...]:
        if len(lanes) == 1:
            return (await self._accept(lanes[0], find, wait_s),)
        return tuple(await asyncio.gather(*(self._accept(lane, find, wait_s) for lane in lanes)))

    async def _accept(self, lane: Lane, find: Callable[[TopicId], Topic | Queue], wait_s: float) -> LaneAnswer:
        deadline = asyncio.get_running_loop().time() + wait_s
        try:
            while True:
                log = find(lane.topic)
                change = log.room.next_change
                answer = await self._fenced(log.accept(lane, self._clock()))
                left_s = deadline - asyncio.get_running_loop().time()
                if answer.positions or answer.refusal or not lane.messages or left_s <= 0:
                    return answer
                try:
                    await asyncio.wait_for(change.wait(), left_s)
                except TimeoutError:
                    return answer
        except GreenroomError as refusal:
            return LaneAnswer((), 0, refusal)

    def _subscribe(self, reader: Reader, request: SubscribeRequest) -> Subscribed | GreenroomError:
        known = reader.subscriptions.get(request.subscription_id)
        if known:
            self._end(reader, request.subscription_id)
        if self._num_subscriptions >= self._settings.max_subscriptions:
            return TooBusy(f"the broker has {self._num_subscriptions} subscriptions, as many as it takes")
        try:
            subscribed = self._catalogue.topic(request.topic).subscribe(request, reader, self._clock())
        except GreenroomError as refusal:
            return refusal
        self._num_subscriptions += 1
        return subscribed

    def _end(self, reader: Reader, subscription_id: str) -> None:
        subscription = reader.subscriptions.pop(subscription_id)
        subscription.topic.unsubscribe(subscription, self._clock())
        self._num_subscriptions -= 1

    async def _fenced(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except Fenced:
            self._on_fenced()
            raise Unavailable("another broker has taken over") from None
