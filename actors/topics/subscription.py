"""A subscription on the reader's side: what has come and was not taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from typing_extensions import override

from actors.topics.messages import Batch, Entry, Progress, Subscribed, SubscribeRequest
from api.errors import Closed
from api.names import TopicId
from api.topics import Cursor, Lagged, NewEpoch, Subscription, TopicEvent, TopicMessage
from api.values import decode

MAX_WAITING_MESSAGES = 2000
MAX_WAITING_BYTES = 4 << 20


class BrokerSubscription(Subscription):
    """One reader of one topic; a ``Subscription``.

    It asks for more when it has less than half of what it holds at most, so that a slow reader costs no memory here.
    A message is taken in the same step in which ``recv`` returns it: a call that is cancelled takes nothing.
    """

    def __init__(
        self,
        request: SubscribeRequest,
        subscribed: Subscribed,
        on_taken: Callable[[], None],
        on_close: Callable[[BrokerSubscription], Awaitable[None]],
    ) -> None:
        self.topic: TopicId = request.topic
        self.id = request.subscription_id
        self._request = request
        self._on_taken = on_taken
        self._on_close = on_close
        self._reports_progress = subscribed.reports_progress
        self._epoch = self._taken_epoch = subscribed.epoch
        self._next = self._done = self._told = subscribed.next
        self._events: deque[Entry | Lagged | NewEpoch] = deque()
        self._num_bytes = 0
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._end: Exception | None = None
        self._is_paused = False
        self.is_closed = False
        self._begin = subscribed.next
        if subscribed.is_new_epoch and request.after:
            self._taken_epoch, self._done = request.after.epoch, request.after.position + 1
            self._put(NewEpoch(subscribed.epoch, subscribed.next - 1))

    @property
    def done(self) -> int:
        """What lies before this position of the latest epoch has been taken."""
        return self._done if self._taken_epoch == self._epoch else self._begin

    @property
    @override
    def cursor(self) -> Cursor:
        return Cursor(self._taken_epoch, self._done - 1)

    @override
    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        if not self._events:
            async with asyncio.timeout(timeout_s):
                await self._wait()
        return self._take()

    @override
    async def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._changed.set()
            await self._on_close(self)

    @override
    async def __anext__(self) -> TopicEvent:
        if not self._events:
            if self.is_closed:
                raise StopAsyncIteration
            try:
                await self._wait()
            except Closed:
                raise StopAsyncIteration from None
        return self._take()

    def progress(self) -> Progress:
        """For the poll that is about to be sent."""
        self._told = self.done
        self._is_paused = len(self._events) > MAX_WAITING_MESSAGES // 2 or self._num_bytes > MAX_WAITING_BYTES // 2
        return Progress(self._told, None if self._is_paused else self._next)

    def take(self, batch: Batch) -> None:
        """Take what is new in a batch; polls may overlap, and bring some of it twice."""
        num_known = self._next - batch.first
        if batch.epoch != self._epoch or num_known > len(batch.entries):
            return
        if num_known < 0:
            self._put(Lagged(-num_known, batch.first - 1, self._epoch))
        for entry in batch.entries[max(0, num_known) :]:
            self._num_bytes += len(entry[2])
            self._events.append(entry)
        self._next = batch.first + len(batch.entries)
        self._changed.set()

    def again(self) -> SubscribeRequest:
        """What to ask a broker for that does not know this subscription."""
        after = Cursor(self._epoch, self._next - 1)
        return SubscribeRequest(self.id, self.topic, self._request.subscriber, after)

    def resumed(self, subscribed: Subscribed) -> None:
        """A broker knows it again."""
        if subscribed.is_new_epoch:
            self._epoch = subscribed.epoch
            self._next = self._begin = subscribed.next
            self._put(NewEpoch(subscribed.epoch, subscribed.next - 1))

    def fail(self, error: Exception) -> None:
        """Raise this for the reader; reading may go on later."""
        self._error = error
        self._changed.set()

    def end(self, error: Exception) -> None:
        """There will be nothing more: a reader that has read what is there is told so."""
        self._end = error
        self._changed.set()

    def _put(self, event: Lagged | NewEpoch) -> None:
        self._events.append(event)
        self._changed.set()

    async def _wait(self) -> None:
        """Until there is something to take."""
        while not self._events:
            if self.is_closed:
                raise Closed("the subscription is closed")
            if self._end:
                raise self._end
            if self._error:
                error, self._error = self._error, None
                raise error
            self._changed.clear()
            await self._changed.wait()

    def _take(self) -> TopicEvent:
        entry = self._events.popleft()
        if isinstance(entry, tuple):
            position, at, data = entry
            self._num_bytes -= len(data)
            event: TopicEvent = TopicMessage(position, decode(data), at, self._taken_epoch)
        else:
            event = entry
            self._taken_epoch = entry.epoch
        self._done = event.position + 1
        if self._is_due_to_tell():
            self._on_taken()
        return event

    def _is_due_to_tell(self) -> bool:
        if self._is_paused:
            return len(self._events) <= MAX_WAITING_MESSAGES // 4 and self._num_bytes <= MAX_WAITING_BYTES // 4
        return self._reports_progress and not self._events and self._told < self.done
