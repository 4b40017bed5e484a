"""What the broker's benchmark compares: ours, and Redis's publish/subscribe and streams, behind the same four calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import redis.asyncio

from actors.cluster.greenroom import Greenroom
from actors.topics.ref import BrokerRef
from actors.topics.subscription import BrokerSubscription
from api.names import TopicId
from api.topics import TopicMessage

BUSES = ("greenroom", "redis pub/sub", "redis streams")


class Bus(Protocol):
    """Publishes and reads texts."""

    async def publish(self, topic: str, texts: Sequence[str]) -> None:
        """Publish them in order; returns when they are accepted."""
        ...

    async def subscribe(self, topic: str) -> AsyncIterator[str]:
        """What is published from now on."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def open_bus(name: str, address: str) -> Bus:
    """The bus of this name; ``address`` is Redis's URL."""
    if name == BUSES[0]:
        return GreenroomBus((await Greenroom.connect(wait_s=30)).broker)
    return PubSubBus(address) if name == BUSES[1] else StreamBus(address)


class GreenroomBus:
    """Ours."""

    def __init__(self, broker: BrokerRef) -> None:
        self._broker = broker
        self._subscriptions: list[BrokerSubscription] = []

    async def publish(self, topic: str, texts: Sequence[str]) -> None:
        """See ``Bus.publish``."""
        await asyncio.gather(*(self._broker.publish(TopicId(topic), text) for text in texts))

    async def subscribe(self, topic: str) -> AsyncIterator[str]:
        """See ``Bus.subscribe``."""
        subscription = await self._broker.subscribe(TopicId(topic), replay=False)
        self._subscriptions.append(subscription)
        return self._texts(subscription)

    async def close(self) -> None:
        """See ``Bus.close``."""
        for subscription in self._subscriptions:
            await subscription.close()

    async def _texts(self, subscription: BrokerSubscription) -> AsyncIterator[str]:
        async for event in subscription:
            assert isinstance(event, TopicMessage), event
            yield str(event.value)


class _RedisBus:
    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = redis.asyncio.from_url(url, decode_responses=True)
        self._readers: list[Any] = []

    def _connection(self) -> redis.asyncio.Redis:
        connection = redis.asyncio.from_url(self._url, decode_responses=True)
        self._readers.append(connection)
        return connection

    async def close(self) -> None:
        """See ``Bus.close``."""
        for connection in (*self._readers, self._redis):
            await connection.aclose()


class PubSubBus(_RedisBus):
    """Redis's PUBLISH and SUBSCRIBE."""

    async def publish(self, topic: str, texts: Sequence[str]) -> None:
        """See ``Bus.publish``."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for text in texts:
                pipeline.publish(topic, text)
            await pipeline.execute()

    async def subscribe(self, topic: str) -> AsyncIterator[str]:
        """See ``Bus.subscribe``."""
        channel = self._connection().pubsub()
        await channel.subscribe(topic)
        await channel.get_message(timeout=10)
        return self._texts(channel)

    async def _texts(self, channel: Any) -> AsyncIterator[str]:
        async for message in channel.listen():
            if message["type"] == "message":
                yield message["data"]


class StreamBus(_RedisBus):
    """Redis's XADD and XREAD."""

    async def publish(self, topic: str, texts: Sequence[str]) -> None:
        """See ``Bus.publish``."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for text in texts:
                pipeline.xadd(topic, {"text": text})
            await pipeline.execute()

    async def subscribe(self, topic: str) -> AsyncIterator[str]:
        """See ``Bus.subscribe``."""
        return self._texts(self._connection(), topic)

    async def _texts(self, connection: Any, topic: str) -> AsyncIterator[str]:
        last = "0"
        while True:
            found = await connection.xread({topic: last}, count=1000, block=10_000)
            entries = found[0][1] if found else []
            for _, fields in entries:
                yield fields["text"]
            last = entries[-1][0] if entries else last
