"""The caller's side of one broker actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from actors.calls.interface import Interface
from actors.calls.ray import RestartedActor
from actors.settings import BrokerSettings
from actors.topics.messages import Handed, Lane, LaneAnswer, PollReply, Progress, Subscribed, SubscribeRequest
from api.errors import GreenroomError
from api.names import MessageKey, TopicId
from api.queues import QueueInfo
from api.topics import TopicInfo


class ShardRef(Protocol):
    """A reference to one shard of the broker. Ray restarts it when it dies; calls wait for that, and may be repeated.

    Every call raises ``Unavailable`` when it is not back within ``timeout_s``. See ``actors.topics.broker.Broker``.
    """

    async def configure(self, settings: BrokerSettings) -> None:
        """Take new settings."""
        ...

    async def publish(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """Append messages to topics."""
        ...

    async def push(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """Append items to queues."""
        ...

    async def subscribe(
        self, reader_id: str, requests: Sequence[SubscribeRequest]
    ) -> tuple[Subscribed | GreenroomError, ...]:
        """Begin subscriptions."""
        ...

    async def unsubscribe(self, reader_id: str, done: Mapping[str, int]) -> None:
        """End subscriptions."""
        ...

    async def poll(self, reader_id: str, progress: Mapping[str, Progress], wait_s: float) -> PollReply:
        """What is new in subscriptions."""
        ...

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
        ...

    async def ack(self, queue: TopicId, position: int, ticket: str) -> bool:
        """An item is done."""
        ...

    async def release(self, queue: TopicId, ticket: str) -> None:
        """An item is not wanted."""
        ...

    async def leave(self, publisher: str) -> None:
        """The pulls of a publisher are over."""
        ...

    async def delete(self, key: TopicId) -> bool:
        """Delete a topic; whether it was there."""
        ...

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """The topics of an owner, and the public ones."""
        ...

    async def delete_queue(self, key: TopicId) -> bool:
        """Delete a queue; whether it was there."""
        ...

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """The queues of an owner, and the public ones."""
        ...


BROKER_CALLS = Interface(ShardRef)


def shard_ref(actor: Any, timeout_s: float = 60.0) -> ShardRef:
    """The shard of this actor."""
    return BROKER_CALLS.ref(RestartedActor("broker", actor, timeout_s))
