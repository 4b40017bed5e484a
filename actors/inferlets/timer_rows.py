"""Timers of a program that ran out one after another, in one record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from actors.inferlets.records import Slept, Woken

_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class TimerRow:
    """``num`` timers between which the program made no call.

    ``first`` and ``last`` are pairs of a wait and its time in microseconds; ``waits`` and ``times`` have, for each
    timer after the first, the difference from the one before it, with a space before each number.
    """

    num: int
    num_calls: int
    first: tuple[int, int]
    last: tuple[int, int]
    waits: str
    times: str

    @classmethod
    def of(cls, woken: Sequence[Woken]) -> TimerRow:
        """That of these."""
        waits, times = [one.wait for one in woken], [round(one.at * _PER_S) for one in woken]
        ends = (waits[0], times[0]), (waits[-1], times[-1])
        return cls(len(woken), woken[0].num_calls, *ends, _differences(waits), _differences(times))

    def followed_by(self, other: TimerRow) -> TimerRow:
        """The two as one."""
        wait, time = other.first[0] - self.last[0], other.first[1] - self.last[1]
        waits, times = f"{self.waits} {wait}{other.waits}", f"{self.times} {time}{other.times}"
        return TimerRow(self.num + other.num, self.num_calls, self.first, other.last, waits, times)

    def record(self, num_merged: int) -> Woken | Slept:
        """What the journal keeps of it, in place of the ``num_merged`` records before it."""
        (wait, time), num_calls = self.first, self.num_calls
        if self.num == 1:
            return Woken(wait, num_calls, time / _PER_S)
        return Slept(num_calls, f"{wait}{self.waits}", f"{time}{self.times}", num_merged)


class ReplayedTimers:
    """Timers that a record stands for, and to how many of them a replay has come."""

    __slots__ = ("num_calls", "num_given", "times", "waits")

    def __init__(self, record: Woken | Slept) -> None:
        self.num_calls = record.num_calls
        self.num_given = 0
        if isinstance(record, Woken):
            self.waits, self.times = [record.wait], [record.at]
        else:
            self.waits = list(accumulate(map(int, record.waits.split())))
            self.times = [time / _PER_S for time in accumulate(map(int, record.times.split()))]

    @property
    def next(self) -> Woken | None:
        """The one that comes next."""
        number = self.num_given
        return Woken(self.waits[number], self.num_calls, self.times[number]) if number < len(self.waits) else None


def _differences(numbers: Sequence[int]) -> str:
    return "".join(f" {number - before}" for before, number in pairwise(numbers))
