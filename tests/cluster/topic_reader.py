"""A process of its own that reads topics and takes work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import ray

from actors.cluster.greenroom import Greenroom
from api.names import TopicId
from api.topics import TopicMessage
from api.values import Value


class Reader:
    """An actor of the tests; it keeps what it has subscribed to and pulled, until it is killed."""

    def __init__(self) -> None:
        self._greenroom: Greenroom | None = None
        self._kept: list[object] = []

    async def read(self, topic: TopicId, num_subscriptions: int, num_messages: int) -> list[list[Value]]:
        """The values of so many messages, for each of so many subscriptions."""
        broker = (await self._connected()).broker
        subscriptions = [await broker.subscribe(topic) for _ in range(num_subscriptions)]
        self._kept += subscriptions
        values: list[list[Value]] = [[] for _ in subscriptions]

        async def follow(index: int) -> None:
            while len(values[index]) < num_messages:
                event = await subscriptions[index].recv(120)
                assert isinstance(event, TopicMessage), event
                values[index].append(event.value)

        await asyncio.gather(*map(follow, range(num_subscriptions)))
        return values

    async def pull(self, queue: TopicId) -> Value:
        """Take an item, and keep it."""
        item = await (await self._connected()).broker.pull(queue, 60)
        self._kept.append(item)
        return item.value

    async def publish(self, topic: TopicId, values: Sequence[Value]) -> None:
        """Publish them in order."""
        broker = (await self._connected()).broker
        await asyncio.gather(*(broker.publish(topic, value) for value in values))

    async def node(self) -> str:
        """Where it runs."""
        return str(ray.get_runtime_context().get_node_id())

    async def pid(self) -> int:
        """Its process."""
        return os.getpid()

    async def _connected(self) -> Greenroom:
        if self._greenroom is None:
            self._greenroom = await Greenroom.connect(wait_s=30)
        return self._greenroom
