"""Queues: each item goes to one consumer, until it is acknowledged. A queue's name is as a topic's."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.values import Value

if TYPE_CHECKING:
    from api.names import MessageKey, TopicId


@dataclass(frozen=True, slots=True)
class Pushed:
    """The item was accepted; ``position`` is -1 where it had been before and is no longer in the queue."""

    position: int


@dataclass(frozen=True, slots=True)
class QueueItem:
    """An item that one consumer holds, until ``leased_until`` (seconds since the epoch of the clock).

    Attributes:
        receipt: to acknowledge it with; of this delivery only.
        num_deliveries: 1 for the first delivery.
    """

    queue: TopicId
    position: int
    value: Value
    pushed_at: float
    receipt: str
    num_deliveries: int
    leased_until: float


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue in a list: items that are ready, items that consumers hold, and consumers that wait for one."""

    queue: TopicId
    num_ready: int
    num_held: int
    num_waiting: int
    is_durable: bool


class Queues(Protocol):
    """The queues of the broker. All calls raise ``Unavailable`` when it cannot be reached in time."""

    def push(self, queue: TopicId, value: Value, key: MessageKey | None = None) -> Awaitable[Pushed]:
        """Append an item, as ``Topics.publish`` does to a topic.

        Raises:
            InvalidRequest, TooLarge: at once; the value is not a message.
            TooBusy: the queue is full, or there are as many queues as are allowed.
        """
        ...

    async def pull(
        self,
        queue: TopicId,
        timeout_s: float | None = None,
        lease_s: float | None = None,
        key: MessageKey | None = None,
    ) -> QueueItem:
        """The oldest item that no consumer has. It goes to another where it is not acknowledged in time.

        Args:
            lease_s: time to acknowledge it; None takes the configured one. It ends early when this process does.
            key: the same pull again, from whichever process, gets the same item.

        Raises:
            TimeoutError: nothing came within ``timeout_s``.
        """
        ...

    async def ack(self, item: QueueItem) -> bool:
        """The item is done. False where it came too late: the item is another's, or its queue was deleted."""
        ...

    async def release(self, item: QueueItem) -> None:
        """Give an item back to its place in the queue, for another. Idempotent."""
        ...

    async def leave(self, publisher: str) -> None:
        """Release all items that pulls with keys of this publisher have, and end those pulls. Idempotent."""
        ...

    async def delete_queue(self, queue: TopicId) -> bool:
        """Delete a queue with its items, held ones too; whether it was there.

        Who pushes to it or waits for its items goes on with another of this name.
        """
        ...

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """The queues of an owner and the public ones, by name."""
        ...
