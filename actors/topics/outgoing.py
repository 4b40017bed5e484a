"""What a process sends to one broker actor: one batch at a time, in order, each message once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from actors.calls.scope import Scope
from actors.topics.messages import Lane, LaneAnswer
from api.errors import TooBusy
from api.names import TopicId

MAX_BATCH_MESSAGES = 2000
MAX_BATCH_BYTES = 4 << 20
MAX_WAITING_MESSAGES = 20_000
MAX_WAITING_BYTES = 64 << 20
WAIT_S = 10.0

Receipt = TypeVar("Receipt")
Call = Callable[[Sequence[Lane], float], Awaitable[Sequence[LaneAnswer]]]


@dataclass(slots=True)
class _Message(Generic[Receipt]):
    number: int
    data: bytes
    accepted: asyncio.Future[Receipt]


@dataclass(slots=True)
class _Queue(Generic[Receipt]):
    """Messages of one publisher to one topic; ``is_busy`` while the first of them are on their way."""

    topic: TopicId
    publisher: str
    waiting: deque[_Message[Receipt]] = field(default_factory=deque)
    is_busy: bool = False

    def lane(self) -> Lane:
        """As many of the first messages as a batch takes."""
        messages: list[tuple[int, bytes]] = []
        num_bytes = 0
        for message in self.waiting:
            num_bytes += len(message.data)
            if messages and (num_bytes > MAX_BATCH_BYTES or len(messages) >= MAX_BATCH_MESSAGES):
                break
            messages.append((message.number, message.data))
        return Lane(self.topic, self.publisher, tuple(messages))


class Outgoing(Generic[Receipt]):
    """Messages that wait to be accepted; what is put in one tick of the event loop goes as one batch.

    While a topic lets its publishers wait, the messages to the others go on. Messages go on their way even where
    nobody waits for their acceptance any longer.

    Args:
        call: sends lanes, again and again until it has an answer; waits for room for the given time.
        receipt: of an accepted message, from its position and the number of subscribers.
    """

    def __init__(self, call: Call, receipt: Callable[[int, int], Receipt]) -> None:
        self._call = call
        self._receipt = receipt
        self._queues: dict[tuple[TopicId, str], _Queue[Receipt]] = {}
        self._scope = Scope()
        self._is_sending = False
        self._is_due = False
        self._num_messages = 0
        self._num_bytes = 0

    def put(self, topic: TopicId, publisher: str, number: int, data: bytes) -> asyncio.Future[Receipt]:
        """Send a message. A publisher's numbers grow within a topic.

        Raises:
            TooBusy: too much is waiting already.
        """
        if self._num_messages >= MAX_WAITING_MESSAGES or self._num_bytes + len(data) > MAX_WAITING_BYTES:
            raise TooBusy("too many messages of this process wait for the broker to accept them")
        loop = asyncio.get_running_loop()
        message = _Message[Receipt](number, data, loop.create_future())
        queue = self._queues.get((topic, publisher))
        if queue is None:
            queue = self._queues[topic, publisher] = _Queue(topic, publisher)
        queue.waiting.append(message)
        self._num_messages += 1
        self._num_bytes += len(data)
        if not self._is_due and not self._is_sending:
            self._is_due = True
            loop.call_soon(self._send_waiting)
        return message.accepted

    def _send_waiting(self) -> None:
        self._is_due = False
        queues = [queue for queue in self._queues.values() if not queue.is_busy]
        if queues and not self._is_sending:
            self._is_sending = True
            self._scope.start(self._send_once(queues))

    async def _send_once(self, queues: Sequence[_Queue[Receipt]]) -> None:
        try:
            for queue in await self._send(queues, 0.0):
                queue.is_busy = True
                self._scope.start(self._send_patiently(queue))
        finally:
            self._is_sending = False
        self._send_waiting()

    async def _send_patiently(self, queue: _Queue[Receipt]) -> None:
        """To a topic that is full."""
        while await self._send([queue], WAIT_S):
            pass
        queue.is_busy = False
        self._send_waiting()

    async def _send(self, queues: Iterable[_Queue[Receipt]], wait_s: float) -> list[_Queue[Receipt]]:
        """Send a batch of these queues, which are then after the others; returns those whose topics had no room for
        all of theirs.
        """
        batch: list[tuple[_Queue[Receipt], Lane]] = []
        num_bytes = 0
        for queue in queues:
            lane = queue.lane()
            batch.append((queue, lane))
            num_bytes += sum(len(data) for _, data in lane.messages)
            if num_bytes > MAX_BATCH_BYTES:
                break
        for queue, _ in batch:
            self._queues[queue.topic, queue.publisher] = self._queues.pop((queue.topic, queue.publisher))
        try:
            answers = await self._call([lane for _, lane in batch], wait_s)
        except Exception as error:
            for queue, lane in batch:
                self._fail(queue, len(lane.messages), error)
            return []
        full = []
        for (queue, lane), answer in zip(batch, answers, strict=True):
            self._settle(queue, answer)
            num_left = len(lane.messages) - len(answer.positions)
            if answer.refusal:
                self._fail(queue, num_left, answer.refusal)
            elif num_left:
                full.append(queue)
        return full

    def _settle(self, queue: _Queue[Receipt], answer: LaneAnswer) -> None:
        for position in answer.positions:
            accepted = self._next(queue)
            if not accepted.done():
                accepted.set_result(self._receipt(position, answer.num_subscribers))

    def _fail(self, queue: _Queue[Receipt], num_messages: int, error: Exception) -> None:
        for _ in range(num_messages):
            accepted = self._next(queue)
            if not accepted.done():
                accepted.set_exception(error)

    def _next(self, queue: _Queue[Receipt]) -> asyncio.Future[Receipt]:
        message = queue.waiting.popleft()
        self._num_messages -= 1
        self._num_bytes -= len(message.data)
        if not queue.waiting:
            self._queues.pop((queue.topic, queue.publisher), None)
        return message.accepted
