"""The queues of a broker in memory. Leases do not end by themselves: nothing here knows the time."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from api.errors import GreenroomError
from api.names import MessageKey, TopicId
from api.queues import Pushed, QueueInfo, QueueItem
from api.values import Value, decode, encode

Answer = TypeVar("Answer")


@dataclass
class _Queue:
    """``held`` is what consumers have, by the receipt; ``done`` are receipts of what was acknowledged."""

    ready: list[QueueItem] = field(default_factory=list)
    held: dict[str, tuple[QueueItem, MessageKey | None]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    pushed: dict[MessageKey, int] = field(default_factory=dict)
    end: int = 0


class FakeQueues:
    """Queues by their names. ``changed`` is notified of everything that happens, to topics too."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self._queues: defaultdict[TopicId, _Queue] = defaultdict(_Queue)
        self._waiting: Counter[TopicId] = Counter()
        self._receipts = count(1)
        self._underway: set[asyncio.Task[object]] = set()

    def push(self, queue: TopicId, value: Value, key: MessageKey | None = None) -> asyncio.Task[Pushed]:
        """Append it at once, or once for each key."""
        found, copy = self._queues[queue], decode(encode(value))
        position = found.pushed.get(key) if key else None
        if position is None:
            position, found.end = found.end, found.end + 1
            found.ready.append(QueueItem(queue, position, copy, 1.5, "", 0, 0.0))
            if key:
                found.pushed[key] = position
        return self.later(Pushed(position))

    async def pull(
        self,
        queue: TopicId,
        timeout_s: float | None = None,
        lease_s: float | None = None,
        key: MessageKey | None = None,
    ) -> QueueItem:
        """The first one."""
        found = self._queues[queue]
        self._waiting[queue] += 1
        try:
            async with asyncio.timeout(timeout_s), self.changed:
                again = next((receipt for receipt, (_, had) in found.held.items() if key and had == key), None)
                if again is not None:
                    item, _ = found.held.pop(again)
                else:
                    await self.changed.wait_for(lambda: self._queues[queue].ready)
                    found = self._queues[queue]
                    item = found.ready.pop(0)
                    item = replace(item, num_deliveries=item.num_deliveries + 1)
        finally:
            self._waiting[queue] -= 1
        item = replace(item, receipt=f"receipt-{next(self._receipts)}", leased_until=61.5)
        found.held[item.receipt] = item, key
        return item

    async def ack(self, item: QueueItem) -> bool:
        """In time, where nobody has had it since."""
        found = self._queues.get(item.queue, _Queue())
        was_held = found.held.pop(item.receipt, None) is not None
        released = [one for one in found.ready if one.receipt == item.receipt]
        if released:
            found.ready.remove(released[0])
        if was_held or released:
            found.done.add(item.receipt)
        return item.receipt in found.done

    async def release(self, item: QueueItem) -> None:
        """Back to its place."""
        found = self._queues[item.queue]
        held, _ = found.held.pop(item.receipt, (None, None))
        if held:
            found.ready.append(held)
            found.ready.sort(key=lambda item: item.position)
            await self.announce()

    async def leave(self, publisher: str) -> None:
        """Release what its pulls have."""
        for found in list(self._queues.values()):
            for item, key in list(found.held.values()):
                if key and key.publisher == publisher:
                    await self.release(item)

    async def delete_queue(self, queue: TopicId) -> bool:
        """With its items."""
        return self._queues.pop(queue, None) is not None

    async def queues(self, owner: str) -> tuple[QueueInfo, ...]:
        """Those that were pushed to."""
        mine = sorted((queue.name, queue) for queue in self._queues if queue.is_public or queue.owner == owner)
        return tuple(
            QueueInfo(queue, len(self._queues[queue].ready), len(self._queues[queue].held), self._waiting[queue], False)
            for _, queue in mine
        )

    def later(self, answer: Answer | GreenroomError) -> asyncio.Task[Answer]:
        """The answer to a call that took effect when it was made."""
        task = asyncio.ensure_future(self._answer(answer))
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        return task

    async def announce(self) -> None:
        """Something has happened."""
        async with self.changed:
            self.changed.notify_all()

    async def _answer(self, answer: Answer | GreenroomError) -> Answer:
        if isinstance(answer, GreenroomError):
            raise answer
        await self.announce()
        return answer
