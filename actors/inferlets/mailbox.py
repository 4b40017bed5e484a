"""What goes in and out of an instance: messages for the program, and the events that its clients read."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Iterable, Sequence
from itertools import islice

from actors.inferlets.records import Ended, OutputCut, Printed, Record, Sent
from actors.journal.log import Log
from api.inferlet_events import Completed, Event, Failed, Lost, Message, Stderr, Stdout, Terminated
from api.values import Value, encode


class Inbox:
    """Messages for the program by position, each taken once; one that was not used after all goes back to its place.

    Attributes:
        values: by position; of what a program that has continued as new received, as much as may wait.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.values: dict[int, Value] = {}
        self.limit(max_messages, max_bytes)
        self._keys: dict[str, int] = {}
        self._sizes: dict[int, int] = {}
        self._unused: set[int] = set()
        self._start = self._end = self._num_durable = 0
        self._num_bytes = 0
        self._open: list[int] = []
        self._takers: list[asyncio.Future[int]] = []

    def limit(self, max_messages: int, max_bytes: int) -> None:
        """So much may wait from now on."""
        self._max_messages, self._max_bytes = max_messages, max_bytes

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be taken."""
        return not self._open

    @property
    def is_full(self) -> bool:
        """As much as may wait to be taken is here, or being recorded."""
        return len(self._unused) >= self._max_messages or self._num_bytes >= self._max_bytes

    def position_of(self, key: str) -> int | None:
        """Where the message of this key is; None where there is none."""
        return self._keys.get(key)

    def reserve(self, key: str, value: Value) -> int:
        """The position of a message of this key that is being recorded."""
        position = self._keys[key] = self._end
        self._end += 1
        self._unused.add(position)
        self._sizes[position] = len(encode(value))
        self._num_bytes += self._sizes[position]
        return position

    def put(self, key: str, value: Value) -> None:
        """The next message, which is durable."""
        position = self._keys[key] if key in self._keys else self.reserve(key, value)
        assert position == self._num_durable, "messages are recorded in their order"
        self._num_durable += 1
        self.values[position] = value
        self.put_back(position)

    def forget(self, positions: Iterable[int]) -> None:
        """These were taken in an earlier life."""
        taken = set(positions)
        self._open = [position for position in self._open if position not in taken]
        for position in taken:
            self.used(position)

    def used(self, position: int) -> None:
        """The message was taken, and will not be put back."""
        if position in self._unused:
            self._unused.discard(position)
            self._num_bytes -= self._sizes[position]

    def first_kept(self, num_received: int) -> int:
        """The first that is kept where these have been received for good: of them, as much as may wait."""
        first, num_bytes = self._start, sum(self._sizes.values())
        while first < num_received and (self._end - first > self._max_messages or num_bytes > self._max_bytes):
            num_bytes -= self._sizes[first]
            first += 1
        return first

    def start_at(self, position: int) -> None:
        """Keep none before this one; a message with the key of one of those is another one."""
        forgotten = [key for key, known in islice(self._keys.items(), max(0, position - self._start))]
        for key in forgotten:
            known = self._keys.pop(key)
            del self.values[known], self._sizes[known]
        self._start = max(self._start, position)
        self._end, self._num_durable = max(self._end, position), max(self._num_durable, position)

    async def take(self) -> int:
        """The position of the oldest message that is there; waits for one. Cancelled, it takes nothing."""
        if self._open:
            return self._open.pop(0)
        taker: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._takers.append(taker)
        try:
            return await taker
        except asyncio.CancelledError:
            if taker.done() and not taker.cancelled():
                self.put_back(taker.result())
            raise
        finally:
            if taker in self._takers:
                self._takers.remove(taker)

    def put_back(self, position: int) -> None:
        """The message can be taken, for the first time or since it was not used after all."""
        while self._takers:
            taker = self._takers.pop(0)
            if not taker.done():
                taker.set_result(position)
                return
        bisect.insort(self._open, position)


class Outbox:
    """The events of an instance, and how many of its messages are unread.

    ``took`` and ``is_full`` are for the program's thread; the rest belongs to the actor's loop.
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.log: Log[Event] = Log()
        self.read_position = 0
        self._taken = [(0, 0)]
        self._num_sent = 0
        self._num_sent_bytes = 0
        self._read = (0, 0)
        self._room = asyncio.Event()
        self.limit(max_messages, max_bytes)

    def limit(self, max_messages: int, max_bytes: int) -> None:
        """So much may be unread from now on."""
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._room.set()

    @property
    def is_over(self) -> bool:
        """The last event is there."""
        return self.log.end > 0 and self.log.last.is_end

    def took(self, num_bytes: int) -> None:
        """The program sends another message."""
        self._num_sent += 1
        self._num_sent_bytes += num_bytes

    def is_full(self, times: int = 1) -> bool:
        """So many times what may be unread is unread."""
        num_read, num_read_bytes = self._read
        num, num_bytes = self._num_sent - num_read, self._num_sent_bytes - num_read_bytes
        return num >= times * self._max_messages or num_bytes >= times * self._max_bytes

    async def wait_for_room(self, times: int = 1) -> None:
        """Until it is not full."""
        while self.is_full(times):
            self._room.clear()
            await self._room.wait()

    def append(self, records: Sequence[Record]) -> None:
        """These records are durable; what they say is an event."""
        placed: list[Event] = []
        for record in records:
            event = _event(record, self.log.end + len(placed))
            if event is None:
                continue
            placed.append(event)
            num, num_bytes = self._taken[-1]
            if isinstance(event, Message):
                num, num_bytes = num + 1, num_bytes + len(encode(event.value))
            self._taken.append((num, num_bytes))
        self.log.append(placed)

    def first_kept(self) -> int:
        """The first event that is kept from now on: of those that were read, as much as may be unread."""
        _, num_bytes = self._taken[-1]
        first = self.log.start + bisect.bisect_left(self._taken, num_bytes - self._max_bytes, key=lambda one: one[1])
        return max(self.log.start, min(self.read_position, max(first, self.log.end - self._max_messages)))

    def start_at(self, position: int) -> None:
        """Keep no event before this position, which all are read."""
        del self._taken[: min(position - self.log.start, len(self._taken) - 1)]
        self.log.start_at(position)
        self.read_position = max(self.read_position, position)

    def recover(self) -> None:
        """What is there was sent in an earlier life."""
        self._num_sent, self._num_sent_bytes = self._taken[-1]

    def read_up_to(self, position: int) -> bool:
        """A client has read the events before this position; whether it is the first."""
        position = min(position, self.log.end)
        if position <= self.read_position:
            return False
        self.read_position = position
        self._read = self._taken[position - self.log.start]
        self._room.set()
        return True


def is_event(record: Record) -> bool:
    """Whether its clients see it as an event."""
    return isinstance(record, Sent | Printed | OutputCut | Ended)


def _event(record: Record, position: int) -> Event | None:
    match record:
        case Sent(value=value):
            return Message(position, value)
        case Printed(stream, text):
            return Stdout(position, text) if stream == "stdout" else Stderr(position, text)
        case OutputCut(limit):
            return Stderr(position, f"\n[more than {limit} characters were printed; the rest is not kept]\n")
        case Ended("completed", value):
            return Completed(position, value)
        case Ended("failed", value):
            return Failed(position, str(value))
        case Ended(how):
            return Terminated(position) if how == "terminated" else Lost(position)
    return None
