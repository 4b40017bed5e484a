"""The caller's side of one broker actor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from actors.calls.ray import ActorGone, call
from actors.settings import BrokerSettings
from actors.topics.messages import Handed, Lane, LaneAnswer, PollReply, Progress, Subscribed, SubscribeRequest
from api.errors import GreenroomError, Unavailable
from api.names import MessageKey, TopicId
from api.queues import QueueInfo
from api.topics import TopicInfo


class ShardRef:
    """A reference to one shard of the broker. Ray restarts it when it dies; calls wait for that, and may be repeated.

    Every call raises ``Unavailable`` when it is not back within ``timeout_s``. See ``actors.topics.broker.Broker``.
    """

    RETRY_S = 0.1

    def __init__(self, actor: Any, timeout_s: float = 60.0) -> None:
        self._actor = actor
        self._timeout_s = timeout_s

    async def configure(self, settings: BrokerSettings) -> None:
        """Take new settings."""
        await self._ask("configure", settings)

    async def publish(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """Append messages to topics."""
        return await self._ask("publish", lanes, wait_s)  # type: ignore[no-any-return]

    async def push(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """Append items to queues."""
        return await self._ask("push", lanes, wait_s)  # type: ignore[no-any-return]

    async def subscribe(
        self, reader_id: str, requests: Sequence[SubscribeRequest]
    ) -> tuple[Subscribed | GreenroomError, ...]:
        """Begin subscriptions."""
        return await self._ask("subscribe", reader_id, requests)  # type: ignore[no-any-return]

    async def unsubscribe(self, reader_id: str, done: Mapping[str, int]) -> None:
        """End subscriptions."""
        await self._ask("unsubscribe", reader_id, done)

    async def poll(self, reader_id: str, progress: Mapping[str, Progress], wait_s: float) -> PollReply:
        """What is new in subscriptions."""
        return await self._ask("poll", reader_id, progress, wait_s)  # type: ignore[no-any-return]

    async def pull(
        self,
        reader_id: str,
        ticket: str,
        queue: TopicId,
        wait_s: float,
        lease_s: float | None,
        consumer: MessageKey | None,
    ) -> Handed | None:
        """An item of a queue."""
        return await self._ask("pull", reader_id, ticket, queue, wait_s, lease_s, consumer)  # type: ignore[no-any-return]

    async def ack(self, queue: TopicId, position: int, ticket: str) -> bool:
        """An item is done."""
        return await self._ask("ack", queue, position, ticket)  # type: ignore[no-any-return]

    async def release(self, queue: TopicId, ticket: str) -> None:
        """An item is not wanted."""
        await self._ask("release", queue, ticket)

    async def leave(self, publisher: str) -> None:
        """The pulls of a publisher are over."""
        await self._ask("leave", publisher)

    async def delete(self, topic: TopicId) -> bool:
        """Delete a topic; whether it was there."""
        return await self._ask("delete", topic)  # type: ignore[no-any-return]

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """The topics of an owner, and the public ones."""
        return await self._ask("topics", owner)  # type: ignore[no-any-return]

    async def delete_queue(self, queue: TopicId) -> bool:
        """Delete a queue; whether it was there."""
        return await self._ask("delete_queue", queue)  # type: ignore[no-any-return]

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """The queues of an owner, and the public ones."""
        return await self._ask("queues", owner)  # type: ignore[no-any-return]

    async def _ask(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return await call(self._actor, "call", method, arguments)
            except ActorGone as error:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the broker cannot be reached: {type(error).__name__}") from None
            await asyncio.sleep(self.RETRY_S)
