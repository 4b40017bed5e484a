"""Sequence numbers of publishers, so that a repeated message counts once."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.topics.messages import Lane


@dataclass(slots=True)
class _Taken:
    last: int = -1
    used_at: float = 0.0
    positions: dict[int, int] = field(default_factory=dict)


class Numbers:
    """The last number of each publisher, and where its latest messages are.

    A publisher that has been silent for ``MEMORY_S`` is forgotten.
    """

    MEMORY_S = 3600.0
    MAX_POSITIONS = 1024

    def __init__(self) -> None:
        self._publishers: dict[str, _Taken] = {}

    def known(self, lane: Lane) -> tuple[int, ...]:
        """Where the first messages of a lane are that were taken before; -1 where that is not known any longer."""
        taken = self._publishers.get(lane.publisher)
        if taken is None:
            return ()
        return tuple(taken.positions.get(number, -1) for number, _ in lane.messages if number <= taken.last)

    def take(self, publisher: str, number: int, position: int, now: float) -> None:
        """The number is taken, by the message at this position."""
        taken = self._publishers.get(publisher)
        if taken is None:
            taken = self._publishers[publisher] = _Taken()
        taken.last, taken.used_at = number, now
        taken.positions[number] = position
        if len(taken.positions) > self.MAX_POSITIONS:
            del taken.positions[next(iter(taken.positions))]

    def forget_silent(self, now: float) -> None:
        """Forget publishers that have been silent for long."""
        for publisher, taken in list(self._publishers.items()):
            if now - taken.used_at > self.MEMORY_S:
                del self._publishers[publisher]
