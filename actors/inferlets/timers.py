"""What a program waits for by itself, timers and threads, and the clock that it reads."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable


class Clock:
    """The time of a program, in seconds since it began, without those in which no process ran it.

    It is frozen from when the program is given something until it has nothing left to do, so that what it reads is
    known from what it was given. ``elapsed`` is never frozen.
    """

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._stands_at: float | None = 0.0

    def time(self) -> float:
        """What the program reads."""
        return self.elapsed() if self._stands_at is None else self._stands_at

    def elapsed(self) -> float:
        """The true time, to the microsecond."""
        return round(time.monotonic() - self._began_at, 6)

    def go(self) -> None:
        """Run from now on."""
        self._stands_at = None

    def stand(self) -> float:
        """Stand at the true time, which is returned."""
        self._stands_at = self.elapsed()
        return self._stands_at

    def put_to(self, at: float) -> None:
        """Stand at this time, which is now the true one."""
        self._stands_at = at
        self._began_at = time.monotonic() - at


class Waits:
    """Numbered in the order in which the program began them. Belongs to the program's thread.

    One is over when its timer has run out or its thread has come back, and ends when the program is told: ``end``.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.num_begun = 0
        self._ends: dict[int, Callable[[], object]] = {}
        self._in_threads: set[int] = set()
        self._over_at: list[tuple[float, int]] = []

    @property
    def is_empty(self) -> bool:
        """The program waits for none."""
        return not self._ends

    def begin_timer(self, delay_s: float, end: Callable[[], object]) -> int:
        """Call ``end`` when it runs out; returns its number."""
        number = self._begin(end)
        self._is_over(number, self._clock.elapsed() + delay_s)
        return number

    def begin_thread(self, end: Callable[[], object]) -> int:
        """Call ``end`` when the thread has come back; returns its number."""
        number = self._begin(end)
        self._in_threads.add(number)
        return number

    def came_back(self, number: int) -> None:
        """This thread has."""
        if number in self._in_threads:
            self._in_threads.discard(number)
            self._is_over(number, self._clock.elapsed())

    def drop(self, number: int) -> None:
        """The program waits for this no longer."""
        self._ends.pop(number, None)
        self._in_threads.discard(number)
        if len(self._over_at) > 2 * len(self._ends) + 100:
            self._over_at = [one for one in self._over_at if one[1] in self._ends]
            heapq.heapify(self._over_at)

    def first(self) -> int | None:
        """The one that has been over for longest; None where none is."""
        over_in_s = self.over_in_s
        return None if over_in_s is None or over_in_s > 0 else self._over_at[0][1]

    @property
    def over_in_s(self) -> float | None:
        """Until the first one is over, as far as that is known."""
        while self._over_at and self._over_at[0][1] not in self._ends:
            heapq.heappop(self._over_at)
        return max(0.0, self._over_at[0][0] - self._clock.elapsed()) if self._over_at else None

    def end(self, number: int) -> bool:
        """Tell the program; a timer need not have run out. False where it has not begun, or its thread is not back."""
        if number not in self._ends or number in self._in_threads:
            return False
        self._ends.pop(number)()
        return True

    def _begin(self, end: Callable[[], object]) -> int:
        self.num_begun += 1
        self._ends[self.num_begun] = end
        return self.num_begun

    def _is_over(self, number: int, at: float) -> None:
        heapq.heappush(self._over_at, (at, number))
