"""Fairness between the owners of turns: who is next, and how much one owner may have."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from api.errors import TooBusy

RECENT_S = 10.0
"""An owner is expected to return for so long: another that has the engine alone leaves room for its next turn."""


class Owned(Protocol):
    """A turn, as far as fairness goes."""

    @property
    def owner(self) -> str:
        """Whose it is."""
        ...


Turn = TypeVar("Turn", bound=Owned)


class Owners:
    """Who has had turns lately.

    Attributes:
        share: the part that one owner may have of the queue, and of a step while others have turns too; 1 where there
            is one owner only. May be set.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.share = share
        self._clock = clock
        self._seen: dict[str, float] = {}

    def note(self, owner: str) -> None:
        """This owner has a turn now."""
        if self.share < 1:
            self._seen[owner] = self._clock()

    def share_of(self, total: int) -> int:
        """How many of so many one owner may have."""
        return max(1, math.ceil(self.share * total))

    def are_several(self, going: Counter[str]) -> bool:
        """Whether more than one owner has turns, or had some lately; ``going`` counts the turns of each."""
        if len(self._seen) < 2:
            return False
        expired_at = self._clock() - RECENT_S
        self._seen = {owner: at for owner, at in self._seen.items() if at > expired_at or going[owner]}
        return len(self._seen) > 1

    def check_queue(self, num_waiting: int, max_waiting: int) -> None:
        """Whether an owner of whose turns so many wait may have one more in a queue of this size.

        Raises:
            TooBusy: it has its share.
        """
        limit = self.share_of(max_waiting)
        if num_waiting >= limit:
            raise TooBusy(f"{limit} of your turns are waiting for this model, as many as one owner may have")


class FairQueue(Generic[Turn]):
    """Turns that wait: those of one owner in their order; among owners, who has the fewest going is next."""

    def __init__(self) -> None:
        self._turns: dict[str, deque[Turn]] = {}

    @property
    def num_turns(self) -> int:
        """Those that wait."""
        return sum(len(turns) for turns in self._turns.values())

    def __iter__(self) -> Iterator[Turn]:
        return (turn for turns in self._turns.values() for turn in turns)

    def count(self, owner: str) -> int:
        """How many turns of an owner wait."""
        return len(self._turns.get(owner, ()))

    def add(self, turn: Turn) -> None:
        """Behind its owner's other turns."""
        self._turns.setdefault(turn.owner, deque()).append(turn)

    def discard(self, turn: Turn) -> None:
        """Let it wait no longer, if it does."""
        turns = self._turns.get(turn.owner)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._turns[turn.owner]

    def pop(self, going: Counter[str], may: Callable[[Turn], bool]) -> Turn | None:
        """The next turn that may go; None where none of the owners' first ones may."""
        firsts = [turns[0] for turns in self._turns.values()]
        turn = min((turn for turn in firsts if may(turn)), key=lambda turn: going[turn.owner], default=None)
        if turn is not None:
            turns = self._turns.pop(turn.owner)
            turns.popleft()
            if turns:
                self._turns[turn.owner] = turns  # at the end: of equals another owner is next
        return turn


def in_turns(turns: Iterable[Turn]) -> list[Turn]:
    """One of each owner, then another of each, and so on; those of one owner stay in their order."""
    ranks: Counter[str] = Counter()
    ranked: list[tuple[int, Turn]] = []
    for turn in turns:
        ranked.append((ranks[turn.owner], turn))
        ranks[turn.owner] += 1
    ranked.sort(key=lambda entry: entry[0])
    return [turn for _, turn in ranked]
