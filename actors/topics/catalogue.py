"""The topics and queues of one shard of the broker, by name: begun when first named, within limits, and forgotten."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from actors.journal.contract import Journal
from actors.settings import BrokerSettings
from actors.topics.messages import shard_of
from actors.topics.queue import Queue
from actors.topics.segments import Kind, SegmentKey, Segments
from actors.topics.topic import Topic
from api.errors import TooBusy
from api.names import TopicId


class Catalogue:
    """Belongs to one event loop."""

    def __init__(self, settings: BrokerSettings, journal: Journal, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.topics: dict[TopicId, Topic] = {}
        self.queues: dict[TopicId, Queue] = {}
        self.num_owned: Counter[str] = Counter()
        self._journal = journal
        self._clock = clock

    def configure(self, settings: BrokerSettings) -> None:
        """Take new settings, also for what there is."""
        self.settings = settings
        for key, topic in self.topics.items():
            topic.configure(settings.topic(key.name))
        for key, queue in self.queues.items():
            queue.configure(settings.queue(key.name))

    async def restore(self, shard: int) -> set[str]:
        """Take over what is durable of a shard; the readers that hold items of queues."""
        holders: set[str] = set()
        keys: list[SegmentKey] = []
        while (found := await self._segment_keys(shard)) != keys:  # the previous owner can begin one until it is fenced
            keys = found
            self.topics, self.queues, self.num_owned, holders = {}, {}, Counter(), set()
            for _, group in groupby(keys, key=lambda key: (key.kind, key.epoch)):
                holders |= await self._restore(list(group))
        return holders

    def topic(self, key: TopicId) -> Topic:
        """The topic of this name.

        Raises:
            TooBusy: it is a new one, and there are as many as are allowed; so too with ``queue``.
        """
        topic = self.topics.get(key)
        if topic is None:
            self._count(key)
            settings, epoch = self.settings.topic(key.name), secrets.token_hex(8)
            segments = Segments(self._journal, "topic", key, epoch) if settings.is_durable else None
            topic = self.topics[key] = Topic(key, epoch, settings, self._clock(), segments)
        return topic

    def queue(self, key: TopicId) -> Queue:
        """The queue of this name."""
        queue = self.queues.get(key)
        if queue is None:
            self._count(key)
            settings = self.settings.queue(key.name)
            segments = Segments(self._journal, "queue", key, secrets.token_hex(8)) if settings.is_durable else None
            queue = self.queues[key] = Queue(key, settings, self._clock, segments)
        return queue

    def remove(self, log: Topic | Queue) -> None:
        """It was deleted. Idempotent."""
        logs: dict[TopicId, Any] = self.topics if isinstance(log, Topic) else self.queues
        if logs.get(log.id) is log:
            del logs[log.id]
            self.num_owned[log.id.owner] -= 1

    def forget_idle(self) -> None:
        """Forget topics and queues that are empty, and unused for long."""
        now, idle_s = self._clock(), self.settings.idle_timeout_s
        logs: list[Topic | Queue] = [*self.topics.values(), *self.queues.values()]
        for log in logs:
            if log.is_idle(now, idle_s):
                self.remove(log)
        self.num_owned += Counter()  # without the zeros

    def _count(self, key: TopicId) -> None:
        if len(self.topics) + len(self.queues) >= self.settings.max_topics:
            raise TooBusy(f"the broker has {self.settings.max_topics} topics and queues, as many as it takes")
        if self.num_owned[key.owner] >= (self.settings.max_topics_per_owner or self.settings.max_topics):
            raise TooBusy(f"this owner has {self.num_owned[key.owner]} topics and queues, as many as are allowed")
        self.num_owned[key.owner] += 1

    async def _segment_keys(self, shard: int) -> list[SegmentKey]:
        """Of a shard, log by log and in order."""
        keys = [SegmentKey.parse(stream.key) for stream in await self._journal.streams()]
        own = [key for key in keys if shard_of(key.topic, self.settings.num_shards) == shard]
        return sorted(own, key=lambda key: (key.kind, key.epoch, key.begin))

    async def _restore(self, keys: Sequence[SegmentKey]) -> set[str]:
        key = keys[0].topic
        kind: Kind = "topic" if keys[0].kind == "topic" else "queue"
        segments = Segments(self._journal, kind, key, keys[0].epoch)
        begin, records = await segments.restore(keys)
        self.num_owned[key.owner] += 1
        if kind == "topic":
            topic = Topic(key, keys[0].epoch, self.settings.topic(key.name), self._clock(), segments)
            self.topics[key] = topic
            topic.restore(begin, records)
            return set()
        queue = self.queues[key] = Queue(key, self.settings.queue(key.name), self._clock, segments)
        return queue.restore(begin, records)
