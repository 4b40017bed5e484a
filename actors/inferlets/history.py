"""What a program received in its earlier activations: the answers to its calls, and the ends of its own waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from actors.inferlets.records import (
    Answer,
    Called,
    Checkpointed,
    Continued,
    Given,
    Logged,
    PutAway,
    Record,
    Restarted,
    Resumed,
    Returned,
    Sent,
    Slept,
    Woken,
)
from actors.inferlets.timer_rows import ReplayedTimers
from api.inferlet.host import Beginning


class Diverged(BaseException):
    """The program did not repeat itself. Not an ``Exception``, so that it does not take this for a failed call."""


class Replay:
    """Answers by the number of the call, and the order in which the program was given them and woken.

    Calls are numbered in the order in which the program makes them, whichever of its tasks does; so are its waits.
    Belongs to the program's thread, but for ``missing``.

    Attributes:
        last_call: the program has made so many calls, on nothing but the answers that are here.
        start: where the program begins.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.start, records = since_checkpoint(records)
        self._sent: dict[int, Sent | Logged] = {}
        self._answers: dict[int, Answer] = {}
        self._called: dict[int, Called] = {}
        self._order: deque[int | Woken | Slept] = deque()
        self._row: ReplayedTimers | None = None
        self._ordering = threading.Lock()
        self.last_call = self.start.counts.num_calls
        for record in records:
            if isinstance(record, Sent | Logged):
                self._sent[record.call] = record
            elif isinstance(record, Called):
                self._called[record.call] = record
            elif isinstance(record, Answer):
                self._answers[record.call] = record
                self._order.append(record.call)
            elif isinstance(record, Woken | Slept):
                self._order.append(record)
            if isinstance(record, Given | Slept):
                self.last_call = max(self.last_call, record.num_calls)
        self.last_call = max((self.last_call, *self._sent, *self._called))
        self.num_taken = 0

    def sent(self, call: int, effect: str, digest: str) -> Sent | Logged | None:
        """What this call sent or logged; None where it is made for the first time.

        Raises:
            Diverged: it was another call.
        """
        other = self._answers.get(call) or self._called.get(call)
        if other and call not in self._sent:
            self._check(call, other.effect, other.digest, effect, digest)
        sent = self._sent.get(call)
        if sent:
            self._check(call, _effect(sent), sent.digest, effect, digest)
        return sent

    def answer(self, call: int, effect: str, digest: str) -> Answer | None:
        """The answer to this call; None where it had none yet.

        Raises:
            Diverged: it was another call.
        """
        if sent := self._sent.get(call):
            self._check(call, _effect(sent), sent.digest, effect, digest)
        answer = self._answers.get(call)
        known = answer or self._called.get(call)
        if known:
            self._check(call, known.effect, known.digest, effect, digest)
        return answer

    def next(self) -> Given | None:
        """The next that is to be given; None once the program has caught up."""
        with self._ordering:
            while True:
                if self._row and (given := self._row.next):
                    return given
                self._row = None
                if not self._order:
                    return None
                first = self._order[0]
                if isinstance(first, int) and (answer := self._answers.get(first)):
                    return answer
                self._order.popleft()
                if not isinstance(first, int):
                    self._row = ReplayedTimers(first)

    def take_wait(self, wait: int, num_calls: int) -> float | None:
        """Take the end of this wait, if it comes next after this many calls: the time when it was; else None."""
        row = self._row
        if row is None or row.num_given == len(row.waits):
            self.next()
            row = self._row
        if row is None or row.waits[row.num_given] != wait or row.num_calls != num_calls:
            return None
        row.num_given += 1
        self.num_taken += 1
        return row.times[row.num_given - 1]

    def missing(self, num_calls: int) -> str | None:
        """What a program that has made this many calls has not done again yet; None once it has caught up."""
        if given := self.next():
            return described(given)
        return f"call {self.last_call}" if num_calls < self.last_call else None

    def take(self, given: Given) -> None:
        """The program has been given this: an answer, or what is next."""
        if isinstance(given, Woken):
            assert self._row is not None, "it is the next one"
            self._row.num_given += 1
        else:
            del self._answers[given.call]
        self.num_taken += 1

    def _check(self, call: int, was: str, was_digest: str, now: str, digest: str) -> None:
        if was != now:
            raise Diverged(f"call {call} was {was} before, and is {now} now")
        if was_digest != digest:
            raise Diverged(f"call {call} ({now}) has other arguments than before")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a life begins: with these counts, of a checkpoint where there was one, or as new with a state."""

    counts: Checkpointed = Checkpointed(0, 0, 0, 0, 0.0, None)
    beginning: Beginning = Beginning()
    continued: Continued = Continued(0, 0, 0, {}, 0, False, None)

    def without(self, records: Iterable[Record]) -> Start:
        """Here, and no call and no id gets a number of these records; between two calls is one id at most."""
        records, counts, beginning = list(records), self.counts, self.beginning
        numbers = (record.call for record in records if isinstance(record, Sent | Logged | Called | Answer))
        num_lost = max((number - counts.num_calls for number in numbers), default=0)
        counts = replace(counts, num_calls=counts.num_calls + num_lost, num_ids=counts.num_ids + num_lost)
        lost = (record.value for record in records if isinstance(record, Logged))
        all_lost = (*(beginning.lost or ()), *lost)
        return Start(counts, replace(beginning, lost=all_lost))


def since_checkpoint(records: Iterable[Record]) -> tuple[Start, list[Record]]:
    """Where a life begins after these records, and which of them it repeats."""
    start = Start()
    notes: list[object] = []
    after: list[Record] = []
    for record in records:
        if isinstance(record, Checkpointed):
            notes = notes if record.is_addition else []
            notes.append(record.note)
            start, after = Start(record), []
        elif isinstance(record, Continued):
            start, after = Start(Checkpointed(record.num_calls, record.num_ids, 0, 0, 0.0, None), continued=record), []
        elif isinstance(record, Restarted):
            start, after = start.without(after), []
        else:
            after.append(record)
    return replace(start, beginning=replace(start.beginning, notes=tuple(notes))), after


@dataclass(frozen=True, slots=True)
class Standstill:
    """Lives that died, one after the other, since the program last came further: was given something, or rested.

    Attributes:
        is_restarted: it had gone on without its last run before these.
    """

    num_deaths: int = 0
    is_restarted: bool = False


def standstill(records: Iterable[Record]) -> Standstill:
    """After these records. What a life does again, as ``Called``, is no progress."""
    found = Standstill()
    for record in records:
        if isinstance(record, Given | Slept | Checkpointed | Continued | PutAway):
            found = Standstill()
        elif isinstance(record, Resumed):
            found = replace(found, num_deaths=found.num_deaths + 1)
        elif isinstance(record, Restarted) and not found.is_restarted:
            found = Standstill(is_restarted=True)
    return found


def _effect(sent: Sent | Logged) -> str:
    return "Send" if isinstance(sent, Sent) else "Log"


def described(given: Given) -> str:
    """What it belongs to, for a sentence."""
    if isinstance(given, Woken):
        return f"wait {given.wait} (for a timer or a thread)"
    ending = "which had returned" if isinstance(given, Returned) else "which had not returned"
    return f"call {given.call} ({given.effect}, {ending})"
