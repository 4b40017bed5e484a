"""A topic: its messages, who reads them, and what a publisher may do when a reader is slow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.settings import TopicSettings
from actors.topics.messages import Batch, Entry, Lane, LaneAnswer, Subscribed, SubscribeRequest
from actors.topics.numbers import Numbers
from actors.topics.retained import Retained
from actors.topics.room import Room, num_that_fit
from actors.topics.segments import Segments, of_record, to_record
from api.errors import GreenroomError, TooBusy, TopicNotFound
from api.names import TopicId
from api.topics import TopicInfo


@dataclass(slots=True, eq=False)
class Subscription:
    """One reader's place in one topic: what lies before ``done`` has been handed out.

    Attributes:
        reports_progress: as the reader was told; no publisher waits for one that does not.
    """

    topic: Topic
    reader: Reader
    subscriber: str | None
    done: int
    reports_progress: bool


MAX_BATCH_MESSAGES = 1000
MAX_BATCH_BYTES = 1 << 20
MAX_PLACES = 1024
"""Places of named subscribers that a topic remembers after they have left."""

RATE_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class _Place:
    next: int
    left_at: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a lane comes to: positions of what was taken before, new entries with their numbers, and the refusal."""

    known: tuple[int, ...]
    entries: tuple[Entry, ...]
    numbers: tuple[int, ...]
    refusal: GreenroomError | None

    @property
    def positions(self) -> tuple[int, ...]:
        return (*self.known, *(entry[0] for entry in self.entries))


@dataclass(slots=True, eq=False)
class Reader:
    """A process that reads, alive for as long as it asks.

    ``waiting`` is the poll that waits, and ``num_calls`` counts calls of any kind that do. ``ended`` are subscriptions
    whose topic was deleted, until it knows.
    """

    seen_at: float
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    waiting: asyncio.Event | None = None
    num_calls: int = 0
    num_polls: int = 0
    replied_at: float = 0.0
    ended: set[str] = field(default_factory=set)

    def wake(self) -> None:
        """There may be something new for it."""
        if self.waiting:
            self.waiting.set()

    def end_poll(self) -> None:
        """The poll that waits is to be answered, new or not."""
        self.wake()
        self.waiting = None


class Topic:
    """A log that is cut at its beginning, and its subscriptions. Belongs to one event loop.

    With ``segments`` it is durable: a message is neither accepted nor shown before it is written.
    """

    def __init__(
        self, topic: TopicId, epoch: str, settings: TopicSettings, now: float, segments: Segments | None = None
    ) -> None:
        self.id = topic
        self.epoch = epoch
        self.settings = settings
        self.retained = Retained()
        self.room = Room()
        self.used_at = now
        self._segments = segments
        self._numbers = Numbers()
        self._subscriptions: set[Subscription] = set()
        self._places: dict[str, _Place] = {}
        self._lock = asyncio.Lock()
        self._is_deleted = False
        self._rate = 0.0
        self._rate_at = 0.0

    @property
    def num_subscribers(self) -> int:
        """Live subscriptions."""
        return len(self._subscriptions)

    @property
    def lag(self) -> int:
        """Messages that its slowest subscriber has not handed out yet."""
        return max((self.retained.end - subscription.done for subscription in self._subscriptions), default=0)

    @property
    def readers(self) -> set[Reader]:
        """Processes that read it."""
        return {subscription.reader for subscription in self._subscriptions}

    @property
    def is_durable(self) -> bool:
        """Whether its messages outlive the process."""
        return self._segments is not None

    def configure(self, settings: TopicSettings) -> None:
        """Take other limits; a topic that is durable stays so, or not."""
        self.settings = settings
        self.room.announce()

    def restore(self, begin: int, records: Sequence[bytes]) -> None:
        """Take what the journal has, before anything else."""
        self.retained = Retained(begin)
        for record in records:
            (position, at, publisher, number), data = of_record(record)
            self.retained.append((position, at, data))
            self._numbers.take(publisher, number, position, at)
        if self._segments is not None:
            self._segments.next_position = self.retained.end

    async def accept(self, lane: Lane, now: float) -> LaneAnswer:
        """Append what there is room for. A number that was taken before is not taken again."""
        if self._segments is None:
            return self._append(lane, self._plan(lane, now), now)
        return await asyncio.shield(asyncio.ensure_future(self._accept_durably(lane, self._segments, now)))

    def subscribe(self, request: SubscribeRequest, reader: Reader, now: float) -> Subscribed:
        """A subscription of this reader; where it begins is settled now."""
        self.used_at = now
        begin, is_new_epoch = self._place(request)
        reports_progress = self.settings.when_full != "drop"
        subscription = Subscription(self, reader, request.subscriber, begin, reports_progress)
        reader.subscriptions[request.subscription_id] = subscription
        self._subscriptions.add(subscription)
        return Subscribed(self.epoch, begin, is_new_epoch, reports_progress)

    def unsubscribe(self, subscription: Subscription, now: float) -> None:
        """End a subscription; a named one is remembered for as long as a message is."""
        self._subscriptions.discard(subscription)
        self.used_at = now
        if subscription.subscriber is not None:
            self._places.pop(subscription.subscriber, None)
            self._places[subscription.subscriber] = _Place(subscription.done, now)
            if len(self._places) > MAX_PLACES:
                del self._places[next(iter(self._places))]
        self.room.announce()

    def advance(self, subscription: Subscription, done: int) -> None:
        """A reader has handed out what lies before a position."""
        if done > subscription.done:
            subscription.done = min(done, self.retained.end)
            self.room.announce()

    def batch(self, position: int) -> Batch | None:
        """What is there from a position on; None where that is nothing new."""
        first = max(position, self.retained.first)
        entries = self.retained.read(first, MAX_BATCH_MESSAGES, MAX_BATCH_BYTES) if first < self.retained.end else []
        return Batch(self.epoch, first, list(entries)) if entries or first > position else None

    def trim(self, now: float) -> None:
        """Drop messages, and positions of subscribers that left, that are too old."""
        settings = self.settings
        if self.retained.trim(settings.max_messages, settings.max_bytes, now - settings.retention_s):
            self.room.announce()
        self._numbers.forget_silent(now)
        for subscriber, place in list(self._places.items()):
            if now - place.left_at <= settings.retention_s:
                break
            del self._places[subscriber]

    async def drop_records(self) -> None:
        """Drop from the journal what is not retained."""
        if self._segments is not None:
            await self._segments.drop_before(self.retained.first)

    async def delete(self) -> None:
        """Take no more messages, and drop what the journal has."""
        async with self._lock:
            if self._segments is not None:
                await self._segments.delete()
            self._is_deleted = True
            self.room.announce()

    def is_idle(self, now: float, timeout_s: float) -> bool:
        """Whether it is empty, and unused for so long."""
        is_used = self._subscriptions or self._segments or self.retained.first < self.retained.end
        return not is_used and now - self.used_at > timeout_s

    def info(self, now: float) -> TopicInfo:
        """Its entry in a list."""
        return TopicInfo(
            self.id,
            self.epoch,
            self.retained.first,
            self.retained.end,
            self.num_subscribers,
            self._rate * math.exp((self._rate_at - now) / RATE_WINDOW_S),
            self.is_durable,
        )

    async def _accept_durably(self, lane: Lane, segments: Segments, now: float) -> LaneAnswer:
        """To its end, even if its caller is cancelled: what is written must be here too."""
        async with self._lock:
            if self._is_deleted:
                raise TopicNotFound(self.id.name)
            plan = self._plan(lane, now)
            if plan.entries:
                records = [
                    to_record([position, at, lane.publisher, number], data)
                    for (position, at, data), number in zip(plan.entries, plan.numbers, strict=True)
                ]
                await segments.append(records, len(records))
            return self._append(lane, plan, now)

    def _plan(self, lane: Lane, now: float) -> _Plan:
        known = self._numbers.known(lane)
        fresh = lane.messages[len(known) :]
        num_fresh = self._num_that_fit(fresh)
        refusal = None
        if num_fresh < len(fresh) and self.settings.when_full == "refuse":
            refusal = TooBusy(f"topic {self.id.name!r} is full: a subscriber reads too slowly")
        fresh, end = fresh[:num_fresh], self.retained.end
        entries = tuple((end + index, now, data) for index, (_, data) in enumerate(fresh))
        return _Plan(known, entries, tuple(number for number, _ in fresh), refusal)

    def _num_that_fit(self, messages: Sequence[tuple[int, bytes]]) -> int:
        awaited = [subscription.done for subscription in self._subscriptions if subscription.reports_progress]
        if self.settings.when_full == "drop" or not awaited:
            return len(messages)
        slowest = min(awaited)
        num_left = self.settings.max_messages - (self.retained.end - max(slowest, self.retained.first))
        num_bytes_left = self.settings.max_bytes - self.retained.bytes_from(slowest)
        return num_that_fit(messages, num_left, num_bytes_left)

    def _append(self, lane: Lane, plan: _Plan, now: float) -> LaneAnswer:
        for entry, number in zip(plan.entries, plan.numbers, strict=True):
            self.retained.append(entry)
            self._numbers.take(lane.publisher, number, entry[0], now)
        if plan.entries:
            self.retained.trim(self.settings.max_messages, self.settings.max_bytes, -math.inf)
            self._count(len(plan.entries), now)
            for subscription in self._subscriptions:
                subscription.reader.wake()
        return LaneAnswer(plan.positions, len(self._subscriptions), plan.refusal)

    def _count(self, num_messages: int, now: float) -> None:
        self._rate *= math.exp((self._rate_at - now) / RATE_WINDOW_S)
        self._rate += num_messages / RATE_WINDOW_S
        self._rate_at = self.used_at = now

    def _place(self, request: SubscribeRequest) -> tuple[int, bool]:
        """Where a subscription begins, and whether the place asked for is in another epoch."""
        if request.after is not None:
            if request.after.epoch in ("", self.epoch):
                return min(max(request.after.position, -1) + 1, self.retained.end), False
            return self.retained.first, True
        if request.subscriber is not None:
            places = [found.done for found in self._subscriptions if found.subscriber == request.subscriber]
            if places:
                return max(places), False
            if request.subscriber in self._places:
                return self._places[request.subscriber].next, False
        return (self.retained.first if request.replay else self.retained.end), False
