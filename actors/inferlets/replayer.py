"""The host of one program: numbers its calls, answers them from the journal, and performs those that have no record."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

from typing_extensions import override

from actors.inferlets.digest import FORMAT, digest
from actors.inferlets.history import Diverged, Replay, described
from actors.inferlets.output import Output
from actors.inferlets.records import (
    Answer,
    Cancelled,
    Checkpointed,
    Continued,
    Given,
    Logged,
    Raised,
    Record,
    Returned,
    Sent,
    Woken,
)
from actors.inferlets.task_order import NumberingLoop
from actors.inferlets.timers import Clock, Waits
from api.inferlet.context_effects import Forked, Notice
from api.inferlet.effects import Effect, Now, Random, Received, Send
from api.inferlet.host import Beginning, Host, Place
from api.inferlet.work_effects import Log
from api.values import Value, encode

Result = TypeVar("Result")


class Desk(Protocol):
    """What a host needs of its actor. All but ``ask`` return at once; any thread may call them."""

    def emit(self, record: Record) -> None:
        """Record this, after all that was emitted before."""
        ...

    def hold(self, record: Record) -> None:
        """Record this, after all that was emitted before, at the latest with what is emitted next."""
        ...

    def start(self, call: int, digest: str, effect: Effect[Any]) -> None:
        """Perform an effect; its answer goes to ``ProgramHost.arrived``."""
        ...

    def ask(self, call: int, digest: str, effect: Effect[Any]) -> Answer:
        """Perform an effect, and wait for its answer."""
        ...

    def cancel(self, call: int) -> None:
        """Perform it no further; a message that it has received goes back."""
        ...

    def undo(self, answer: Answer) -> None:
        """The program did not take this answer: an item that it pulled goes back."""
        ...

    def settle(self) -> None:
        """Wait until what others see, and the program did not wait for, has been done.

        Raises:
            CancelledError: it was stopped meanwhile.
        """
        ...

    def take_room(self, num_bytes: int) -> bool:
        """Note a message that is being sent; whether there is room for another. Waits while far too many are there."""
        ...

    def tell(self, notice: Notice) -> None:
        """See ``Host.tell``."""
        ...


class ProgramHost(Host):
    """See ``api.inferlet.host.Host``. Belongs to the program's thread, but for ``arrived``, ``tell`` and ``close``."""

    MAX_PASSED_OVER = 1000
    """Timers that a replay does not wait for."""

    def __init__(
        self, instance_id: str, replay: Replay, desk: Desk, output: Output, stream_format: int = FORMAT
    ) -> None:
        self.instance_id = instance_id
        continued = replay.start.continued
        self.places = {topic: Place(cursor) for topic, cursor in continued.places.items()}
        self.replay = replay
        self._num_received = replay.start.counts.num_received or continued.num_received
        self.output = output
        self.diverged: Diverged | None = None
        self.is_dormant = False
        self.is_durable = True
        self.clock = Clock()
        self.waits = Waits(self.clock)
        self._desk = desk
        self._format = stream_format
        self._num_calls = 0
        self._num_ids = 0
        start = replay.start.counts
        self._num_calls, self._num_ids, self.waits.num_begun = start.num_calls, start.num_ids, start.num_waits
        self.clock.put_to(start.at)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._arrived: deque[Answer] = deque()
        self._is_turn_of_waits = False
        self.is_closed = False

    @override
    def perform(self, effect: Effect[Result]) -> Result:
        call, digest = self._number(effect)
        name = type(effect).__name__
        answer = self._known(call, name, digest)
        if answer is None:
            answer = _local(call, digest, effect) or self._desk.ask(call, digest, effect)
            self._record(answer)
        else:
            self._take(answer)
        if isinstance(answer, Returned):
            return answer.result  # type: ignore[no-any-return]
        assert isinstance(answer, Raised), "what is waited for on the spot cannot be cancelled"
        raise answer.exception

    @override
    def begin(self, effect: Effect[Result]) -> Awaitable[Result]:
        call, digest = self._number(effect)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(effect, Send | Log) and not self._say(call, digest, effect):
            future.set_result(None)
            return future
        name = type(effect).__name__
        is_known = self._known(call, name, digest) is not None
        self._waiting[call] = future
        future.add_done_callback(partial(self._settled, call, name, digest))
        if not is_known:
            self._desk.start(call, digest, effect)
        return future

    @override
    def tell(self, notice: Notice) -> None:
        """What an earlier life has forked is forked."""
        if not self.is_closed and not (isinstance(notice, Forked) and self.replay.next()):
            self._desk.tell(notice)

    @override
    def checkpoint(self, note: object) -> bool:
        if self.missing is not None:
            return False
        assert self.waits.is_empty, "a program waits for no timer and no thread at its checkpoint"
        waiting, self._waiting = self._waiting, {}
        for call, future in waiting.items():
            future.cancel()
            self._desk.cancel(call)
        counts = self._num_calls, self._num_ids, self.waits.num_begun, _loop().num_numbered
        num_received = self._num_received or None
        self._desk.emit(Checkpointed(*counts, self.clock.time(), note, is_addition=True, num_received=num_received))
        return True

    @override
    def begin_from_checkpoint(self) -> Beginning:
        start = self.replay.start
        if start.beginning.notes:
            _loop().num_numbered = start.counts.num_tasks
        return start.beginning

    @override
    def continue_as_new(self, state: Value) -> Awaitable[NoReturn]:
        """No task of the program does anything from this call on, so that a later life comes to it in the same way."""
        if self.is_closed:
            raise asyncio.CancelledError("the inferlet has ended")
        if self.missing and not self.diverged:
            self.diverged = Diverged(f"the program continued as new, and had made {self.missing} before")
        if self.diverged:
            raise self.diverged
        self.output.flush()
        self._desk.settle()
        for call in self._waiting:
            self._desk.cancel(call)
        places = {topic: place.cursor for topic, place in self.places.items() if place.cursor}
        printed = self.output.num_kept, self.output.is_cut
        self._desk.emit(Continued(self._num_calls, self._num_ids, self._num_received, places, *printed, state))
        self.close()
        self._never: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
        return self._never

    @override
    def unique_id(self) -> str:
        self._num_ids += 1
        return f"{self.instance_id}.{self._num_ids}"

    def arrived(self, answer: Answer) -> None:
        """An effect has been performed."""
        self._arrived.append(answer)

    def on_idle(self) -> float | None:
        """Give the program the next of what it waits for; returns for how long there is nothing; None: for ever."""
        if not self.is_closed:
            self.output.flush()
        is_given = self._give()
        self.is_dormant = self.waits.is_empty and not is_given
        if is_given:
            return 0.0
        self.clock.go()
        return self.waits.over_in_s if self.is_closed or self.missing is None else None

    def sleeps_again(self) -> bool:
        """Whether the program did nothing else, before it was given anything, than to wait for this timer.

        Then it has waited; but now and then it does as the first time, so that it yields.
        """
        wait = self.waits.num_begun + 1
        if self.is_closed or wait % self.MAX_PASSED_OVER == 0:
            return False
        at = self.replay.take_wait(wait, self._num_calls)
        if at is None:
            return False
        self.waits.num_begun = wait
        self.clock.put_to(at)
        return True

    def close(self) -> None:
        """The program is over here: nothing that it still does counts."""
        self.is_closed = True

    @property
    def is_settled(self) -> bool:
        """The program has done all that it can, and waits for no timer or thread."""
        return self.is_dormant and not self._arrived and self.missing is None

    @property
    def progress(self) -> tuple[int, int]:
        """Grows while the program catches up."""
        return self.replay.num_taken, self._num_calls

    @property
    def missing(self) -> str | None:
        """What the program did and has not done again yet; None where it has caught up."""
        return self.replay.missing(self._num_calls)

    def check_caught_up(self) -> None:
        """At the program's end.

        Raises:
            Diverged: it has not made all the calls that it made before.
        """
        if self.diverged:
            raise self.diverged
        if self.missing:
            raise Diverged(f"the program ended, and had made {self.missing} before")

    def _number(self, effect: Effect[Any]) -> tuple[int, str]:
        if self.is_closed:
            raise asyncio.CancelledError("the inferlet has ended")
        if self.diverged:
            raise self.diverged
        self.is_dormant = False
        self.output.flush()
        self._num_calls += 1
        return self._num_calls, digest(effect, self._format)

    def _known(self, call: int, name: str, digest: str) -> Answer | None:
        try:
            return self.replay.answer(call, name, digest)
        except Diverged as error:
            self.diverged = error
            raise

    def _say(self, call: int, digest: str, effect: Send | Log) -> bool:
        """Whether the program is to wait for room."""
        try:
            said = self.replay.sent(call, type(effect).__name__, digest)
        except Diverged as error:
            self.diverged = error
            raise
        if said:
            return isinstance(said, Sent) and said.is_waiting
        if isinstance(effect, Log):
            self._desk.emit(Logged(call, digest, effect.value))
            return False
        is_waiting = not self._desk.take_room(len(encode(effect.value)))
        self._desk.emit(Sent(call, digest, effect.value, is_waiting))
        return is_waiting

    def _give(self) -> bool:
        """Whether there was something. Results and waits take turns, so that neither holds up the other."""
        if self.is_closed:
            return self._wake()
        if given := self.replay.next():
            return self._give_again(given)
        if self.missing:
            return False
        self._is_turn_of_waits = not self._is_turn_of_waits
        if self._is_turn_of_waits:
            return self._wake() or self._give_arrived()
        return self._give_arrived() or self._wake()

    def _give_again(self, given: Given) -> bool:
        """Not before the program has come to it: while a thread works, or a file is waited for, it takes its time."""
        if self._num_calls < given.num_calls or isinstance(given, Cancelled):
            return False
        if isinstance(given, Woken):
            if not self.waits.end(given.wait):
                return False
        else:
            future = self._waiting.get(given.call)
            if future is None or future.done():
                return False
            _resolve(future, given)
        self._take(given)
        return True

    def _take(self, given: Given) -> None:
        self.replay.take(given)
        self.clock.put_to(given.at)
        self._note(given)

    def _wake(self) -> bool:
        wait = self.waits.first()
        if wait is None:
            return False
        at = self.clock.stand()
        if self.is_durable and not self.is_closed:
            self._desk.hold(Woken(wait, self._num_calls, at))
        return self.waits.end(wait)

    def _give_arrived(self) -> bool:
        while self._arrived:
            answer = self._arrived.popleft()
            future = self._waiting.get(answer.call)
            if future is None or future.cancelled():
                self._desk.undo(answer)
                continue
            self._record(answer)
            _resolve(future, answer)
            return True
        return False

    def _record(self, answer: Answer) -> None:
        """Record at which call the program received this; not of a program that never runs again.

        But that it took a message makes room for another.
        """
        at = self.clock.stand()
        self._note(answer)
        if self.is_durable or (isinstance(answer, Returned) and isinstance(answer.result, Received)):
            self._desk.emit(replace(answer, num_calls=self._num_calls, at=at))

    def _note(self, given: Given) -> None:
        if isinstance(given, Returned) and isinstance(given.result, Received):
            self._num_received = given.result.position + 1

    def _settled(self, call: int, name: str, digest: str, future: asyncio.Future[Any]) -> None:
        was_waited_for = self._waiting.pop(call, None)
        if was_waited_for is None or not future.cancelled() or self.is_closed:
            return
        known = self.replay.answer(call, name, digest)
        if known is None:
            self._desk.cancel(call)
            self._record(Cancelled(call, name, digest))
            return
        if not isinstance(known, Cancelled):
            self.diverged = Diverged(f"{described(known)} was cancelled this time")
        self._take(known)


def _loop() -> NumberingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, NumberingLoop), "a program has a loop of ours"
    return loop


def _local(call: int, digest: str, effect: Effect[Any]) -> Answer | None:
    """The answer to an effect that needs no actor."""
    if isinstance(effect, Now):
        return Returned(call, "Now", digest, time.time())
    if isinstance(effect, Random):
        return Returned(call, "Random", digest, random.random())
    return None


def _resolve(future: asyncio.Future[Any], answer: Answer) -> None:
    if isinstance(answer, Raised):
        future.set_exception(answer.exception)
        future.exception()  # the program might not look
    else:
        assert isinstance(answer, Returned)
        future.set_result(answer.result)
