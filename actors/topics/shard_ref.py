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

    A process that uses it is a *reader*: it names itself in its calls and is taken for dead when it has been silent for
    ``reader_timeout_s``. Every call raises ``Unavailable`` when the shard is not back within ``timeout_s``.
    """

    async def configure(self, settings: BrokerSettings) -> None:
        """Take new limits, those of topics and queues that there are too; what of these is durable stays so, or not."""
        ...

    async def publish(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """Append messages, lane by lane; each waits ``wait_s`` for room where its topic says so."""
        ...

    async def push(self, lanes: Sequence[Lane], wait_s: float) -> tuple[LaneAnswer, ...]:
        """The same for queues."""
        ...

    async def subscribe(
        self, reader_id: str, requests: Sequence[SubscribeRequest]
    ) -> tuple[Subscribed | GreenroomError, ...]:
        """Begin subscriptions of a reader."""
        ...

    async def unsubscribe(self, reader_id: str, done: Mapping[str, int]) -> None:
        """End these subscriptions of a reader, each of which has handed out what lies before a position. Idempotent."""
        ...

    async def poll(self, reader_id: str, progress: Mapping[str, Progress], wait_s: float) -> PollReply:
        """What is new in these subscriptions, once there is something; ends an earlier poll of this reader."""
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
        """The oldest item that no consumer has, once there is one; None after ``wait_s``, or when it was released.

        Args:
            ticket: names this pull; the same again gets the same item.
            consumer: see ``actors.topics.leases.Ticket``.

        Raises:
            TooBusy: there are as many queues as are allowed.
        """
        ...

    async def ack(self, queue: TopicId, position: int, ticket: str) -> bool:
        """See ``Queues.ack``."""
        ...

    async def release(self, queue: TopicId, ticket: str) -> None:
        """The consumer that pulled with this ticket does not want the item, if the pull comes later too. Idempotent."""
        ...

    async def leave(self, publisher: str) -> None:
        """See ``Queues.leave``."""
        ...

    async def delete(self, key: TopicId) -> bool:
        """See ``Topics.delete``."""
        ...

    async def topics(self, owner: str) -> tuple[TopicInfo, ...]:
        """See ``Topics.topics``."""
        ...

    async def delete_queue(self, key: TopicId) -> bool:
        """See ``Queues.delete_queue``."""
        ...

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """See ``Queues.queues``."""
        ...


BROKER_CALLS = Interface(ShardRef)


def shard_ref(actor: Any, timeout_s: float = 60.0) -> ShardRef:
    """The shard of this actor."""
    return BROKER_CALLS.ref(RestartedActor("broker", actor, timeout_s))
