"""A work queue: one consumer at a time holds an item, until it is acknowledged."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Sequence

from actors.settings import QueueSettings
from actors.topics.leases import Item, Leases, Ticket, consumer_of
from actors.topics.messages import Handed, Lane, LaneAnswer
from actors.topics.numbers import Numbers
from actors.topics.room import Room, num_that_fit
from actors.topics.segments import Segments, of_record, to_record
from api.errors import QueueNotFound, TooBusy
from api.names import TopicId
from api.queues import QueueInfo


class Queue:
    """Items in order of their positions; one that comes back takes its old place. Belongs to one event loop.

    With ``segments`` it is durable: pushes, deliveries and acknowledgements are written before they are answered.
    """

    MAX_DONE = 1024

    def __init__(
        self,
        queue: TopicId,
        settings: QueueSettings,
        clock: Callable[[], float],
        segments: Segments | None = None,
    ) -> None:
        self.id = queue
        self.settings = settings
        self.room = Room()
        self.used_at = clock()
        self._clock = clock
        self._segments = segments
        self._end = 0
        self._num_bytes = 0
        self._items: dict[int, Item] = {}
        self._ready: list[int] = []
        self._leases = Leases()
        self._waiting: dict[str, tuple[Ticket, asyncio.Future[Item | None]]] = {}
        self._done: deque[str] = deque(maxlen=self.MAX_DONE)
        self._numbers = Numbers()
        self._lock = asyncio.Lock()
        self._is_deleted = False

    def configure(self, settings: QueueSettings) -> None:
        """Take other limits; leases that run keep their times, and what is durable stays so."""
        self.settings = settings
        self.room.announce()

    def restore(self, begin: int, records: Sequence[bytes]) -> set[str]:
        """Take what the journal has, before anything else; the readers that hold items."""
        self._end = begin
        for record in records:
            (kind, position, *fields), data = of_record(record)
            if kind == "push":
                at, publisher, number = fields
                self._add(Item(position, at, data))
                self._numbers.take(publisher, number, position, at)
            elif (item := self._items.get(position)) is None:
                continue
            elif kind == "lease":
                item.ticket, item.reader_id, item.leased_until, item.num_deliveries, *consumer = fields
                item.consumer = consumer_of(next(iter(consumer), None))
            elif kind == "release":
                item.leased_until = None
            else:
                self._remove(item)
                self._done.append(*fields)
        if self._segments is not None:
            self._segments.next_position = self._end
        self._leases = Leases(self._items.values())
        self._ready = [item.position for item in self._items.values() if item.leased_until is None]
        heapq.heapify(self._ready)
        return {item.reader_id for item in self._leases}

    async def accept(self, lane: Lane, now: float) -> LaneAnswer:
        """Append what there is room for. A number that was taken before is not taken again."""
        return await asyncio.shield(asyncio.ensure_future(self._accept(lane, now)))

    async def pull(self, ticket: Ticket, wait_s: float) -> Handed | None:
        """The oldest item that no consumer has, once there is one. The same ticket again gets the same item."""
        self.used_at = self._clock()
        if held := self._leases.get(ticket.name):
            return held.handed()
        if held := self._leases.of(ticket.consumer):
            self._lease(held, ticket)
            return await self._handed(held)
        future: asyncio.Future[Item | None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket.name] = ticket, future
        self._match()
        try:
            async with asyncio.timeout(wait_s):
                item = await future
        except TimeoutError:
            item = None if future.cancelled() else future.result()
        finally:
            if self._waiting.get(ticket.name) == (ticket, future):
                del self._waiting[ticket.name]
        if item is None or self._leases.get(ticket.name) is not item:
            return None
        return await self._handed(item)

    async def ack(self, position: int, ticket: str) -> bool:
        """The item is done; False where its lease was over and another has had it since."""
        item = self._items.get(position)
        if item is None or item.ticket != ticket:
            return ticket in self._done
        if item.leased_until is None:
            self._ready.remove(position)
            heapq.heapify(self._ready)
        self._remove(item)
        self._done.append(ticket)
        self.used_at = self._clock()
        await self._note(to_record(["ack", position, ticket]))
        return True

    async def release(self, ticket: str) -> None:
        """The consumer that pulled with this ticket does not want the item. Idempotent."""
        waiting = self._waiting.pop(ticket, None)
        if waiting and not waiting[1].done():
            waiting[1].set_result(None)
        if item := self._leases.get(ticket):
            self._take_back(item)
            await self._note(to_record(["release", item.position]))

    async def leave(self, publisher: str) -> None:
        """Release what the pulls of this publisher have, and end those that wait. Idempotent."""
        waiting = [name for name, (ticket, _) in self._waiting.items() if ticket.is_of(publisher)]
        for name in (*waiting, *(item.ticket for item in self._leases.of_publisher(publisher))):
            await self.release(name)

    def expire(self, now: float, is_alive: Callable[[str], bool]) -> None:
        """Take back what was not acknowledged in time, and what dead consumers have."""
        for item in self._leases:
            assert item.leased_until is not None
            if item.leased_until <= now or not is_alive(item.reader_id):
                self._take_back(item)
        self._numbers.forget_silent(now)

    async def drop_records(self) -> None:
        """Drop from the journal what is done."""
        if self._segments is not None:
            await self._segments.drop_before(min(self._items, default=self._end))

    async def delete(self) -> None:
        """Drop every item, and what the journal has; calls that wait for one are told that there is none."""
        async with self._lock:
            if self._segments is not None:
                await self._segments.delete()
            self._is_deleted = True
            self._items.clear()
            self._ready.clear()
            self._leases.clear()
            for _, future in self._waiting.values():
                if not future.done():
                    future.set_result(None)
            self.room.announce()

    @property
    def info(self) -> QueueInfo:
        """Its entry in a list."""
        counts = (len(self._ready), self._leases.num_items, len(self._waiting))
        return QueueInfo(self.id, *counts, self._segments is not None)

    def is_idle(self, now: float, timeout_s: float) -> bool:
        """Whether it is empty, and unused for so long."""
        is_used = self._items or self._waiting or self._segments
        return not is_used and now - self.used_at > timeout_s

    async def _accept(self, lane: Lane, now: float) -> LaneAnswer:
        """To its end, even if its caller is cancelled: what is written must be here too."""
        settings = self.settings
        async with self._lock:
            if self._is_deleted:
                raise QueueNotFound(self.id.name)
            known, publisher = self._numbers.known(lane), lane.publisher
            fresh = lane.messages[len(known) :]
            num_left, num_bytes_left = settings.max_items - len(self._items), settings.max_bytes - self._num_bytes
            fresh = fresh[: num_that_fit(fresh, num_left, num_bytes_left)]
            items = [Item(self._end + index, now, data) for index, (_, data) in enumerate(fresh)]
            records = [
                to_record(["push", item.position, now, publisher, number], item.data)
                for item, (number, _) in zip(items, fresh, strict=True)
            ]
            await self._write(records, len(records))
            for item, (number, _) in zip(items, fresh, strict=True):
                self._add(item)
                heapq.heappush(self._ready, item.position)
                self._numbers.take(publisher, number, item.position, now)
            self.used_at = now
            self._match()
        positions = (*(position if position in self._items else -1 for position in known), *(i.position for i in items))
        is_whole = len(positions) == len(lane.messages)
        is_refused = not is_whole and settings.when_full == "refuse"
        return LaneAnswer(positions, 0, TooBusy(f"queue {self.id.name!r} is full") if is_refused else None)

    def _match(self) -> None:
        """Give ready items to waiting pulls, both in order."""
        while self._ready and self._waiting:
            name = next(iter(self._waiting))
            ticket, future = self._waiting.pop(name)
            if future.done():
                continue
            item = self._items[heapq.heappop(self._ready)]
            item.num_deliveries += 1
            self._lease(item, ticket)
            future.set_result(item)

    def _lease(self, item: Item, ticket: Ticket) -> None:
        lease_s = self.settings.lease_s if ticket.lease_s is None else ticket.lease_s
        self._leases.begin(item, ticket, self._clock() + lease_s)

    async def _handed(self, item: Item) -> Handed | None:
        """The item, once it is written that its ticket has it; None where it was taken back meanwhile."""
        handed, ticket = item.handed(), item.ticket
        await self._note(item.lease)
        return handed if self._leases.get(ticket) is item else None

    def _take_back(self, item: Item) -> None:
        self._leases.end(item)
        heapq.heappush(self._ready, item.position)
        self._match()

    def _add(self, item: Item) -> None:
        self._items[item.position] = item
        self._num_bytes += len(item.data)
        self._end = item.position + 1

    def _remove(self, item: Item) -> None:
        del self._items[item.position]
        self._leases.end(item)
        self._num_bytes -= len(item.data)
        self.room.announce()

    async def _note(self, record: bytes) -> None:
        """Write what has become of an item, unless all of them are gone."""
        if self._segments is not None:
            async with self._lock:
                if not self._is_deleted:
                    await self._write([record])

    async def _write(self, records: Sequence[bytes], num_items: int = 0) -> None:
        if self._segments is not None and records:
            await self._segments.append(records, num_items)
