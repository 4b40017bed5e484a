"""Records that take the place of earlier ones: those that begin a stream anew, and those that stand for several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Record = TypeVar("Record")


class Cut:
    """A record that begins its stream anew. Those before it that pass are removed as it is written, if it ``cuts``."""

    __slots__ = ()

    @property
    def cuts(self) -> bool:
        """Those of earlier releases might not."""
        return True


class Merged:
    """A record that also has what those at the ``num_merged`` positions before it had, which are removed with it."""

    __slots__ = ()
    num_merged: int


class Passing(Generic[Record]):
    """The positions of those records of a stream that the next cut removes; ``passes`` says which pass."""

    def __init__(self, passes: Callable[[Record], bool]) -> None:
        self._passes = passes
        self._positions: list[range] = []

    def take(self, position: int, record: Record) -> Sequence[range]:
        """This record has this position, after all that were taken before; returns what is removed with it."""
        removed = list[range]()
        if isinstance(record, Cut) and record.cuts:
            removed, self._positions = self._positions, []
        if self._passes(record):
            begin = position
            if self._positions and self._positions[-1].stop == position:
                begin = self._positions.pop().start
            self._positions.append(range(begin, position + 1))
        return removed
