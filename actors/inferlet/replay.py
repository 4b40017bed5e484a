"""The answers that a program's calls got in its earlier lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from actors.inferlet.records import Answer, Called, Record, Returned, Sent


class Diverged(BaseException):
    """The program did not repeat itself. Not an ``Exception``, so that it does not take this for a failed call."""


class Replay:
    """Answers by the number of the call, and the order in which the program was given them.

    Calls are numbered in the order in which the program makes them, whichever of its tasks does.

    Attributes:
        last_call: the program has made so many calls, on nothing but the answers that are here.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._sent: dict[int, Sent] = {}
        self._answers: dict[int, Answer] = {}
        self._called: dict[int, Called] = {}
        self.last_call = 0
        for record in records:
            if isinstance(record, Sent):
                self._sent[record.call] = record
            elif isinstance(record, Called):
                self._called[record.call] = record
            elif isinstance(record, Answer):
                self._answers[record.call] = record
                self.last_call = max(self.last_call, record.num_calls)
        self.last_call = max((self.last_call, *self._sent, *self._called))
        self._order = deque(self._answers)
        self.num_taken = 0

    def sent(self, call: int, effect: str, digest: str) -> Sent | None:
        """What this call sent; None where it is made for the first time.

        Raises:
            Diverged: it was another call.
        """
        other = self._answers.get(call) or self._called.get(call)
        if other and call not in self._sent:
            self._check(call, other.effect, other.digest, effect, digest)
        sent = self._sent.get(call)
        if sent:
            self._check(call, "Send", sent.digest, effect, digest)
        return sent

    def answer(self, call: int, effect: str, digest: str) -> Answer | None:
        """The answer to this call; None where it had none yet.

        Raises:
            Diverged: it was another call.
        """
        if call in self._sent and effect != "Send":
            self._check(call, "Send", self._sent[call].digest, effect, digest)
        answer = self._answers.get(call)
        known = answer or self._called.get(call)
        if known:
            self._check(call, known.effect, known.digest, effect, digest)
        return answer

    def next(self) -> Answer | None:
        """The next answer to be given; None once the program has caught up."""
        while self._order and self._order[0] not in self._answers:
            self._order.popleft()
        return self._answers[self._order[0]] if self._order else None

    def take(self, call: int) -> None:
        """The program has been given this answer."""
        del self._answers[call]
        self.num_taken += 1

    def _check(self, call: int, was: str, was_digest: str, now: str, digest: str) -> None:
        if was != now:
            raise Diverged(f"call {call} was {was} before, and is {now} now")
        if was_digest != digest:
            raise Diverged(f"call {call} ({now}) has other arguments than before")


def described(answer: Answer) -> str:
    """The call of an answer, for a sentence."""
    ending = "which had returned" if isinstance(answer, Returned) else "which had not returned"
    return f"call {answer.call} ({answer.effect}, {ending})"
