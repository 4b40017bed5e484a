"""Which tokens of a context the later ones no longer see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from actors.engine.contract import Hole

FREED = -1
"""Stands in a block table for a block that no later token sees."""

NEVER = 1 << 62
"""A position that no token has."""

Positions = NDArray[numpy.int64]


class Visibility:
    """The holes of one context, by token. Immutable.

    Attributes:
        holes: sorted.
        block_limits: (blocks that holes touch,): from which position on no token sees anything of a block.
    """

    def __init__(self, holes: Iterable[Hole], block_size: int) -> None:
        self.holes = tuple(sorted(set(holes)))
        num_blocks = max((-(-hole.end // block_size) for hole in self.holes), default=0)
        self._limits: Positions = numpy.full(num_blocks * block_size, NEVER, dtype=numpy.int64)
        for hole in reversed(self.holes):
            self._limits[hole.start : hole.end] = hole.since
        self.block_limits: Positions = self._limits.reshape(num_blocks, block_size).max(axis=1, initial=0)
        self._block_size = block_size

    def limits(self, positions: Positions) -> Positions:
        """For each token, the first position that does not see it."""
        limits = numpy.full(positions.shape, NEVER, dtype=numpy.int64)
        is_touched = positions < len(self._limits)
        limits[is_touched] = self._limits[positions[is_touched]]
        return limits

    def hidden_blocks(self, length: int) -> list[int]:
        """The blocks that are not needed after ``length`` tokens, nor to compute the last of those once more."""
        hidden: list[int] = numpy.flatnonzero(self.block_limits < length).tolist()
        return hidden

    def num_usable(self, blocks: Sequence[int], num_resident: int) -> int:
        """How many of the resident tokens can be gone on from: what is freed must be computed again where it is seen.

        Args:
            blocks: the context's table.
        """
        freed = [index for index, block in enumerate(blocks) if block == FREED]
        while missing := [index for index in freed if self._is_missing(index, num_resident)]:
            num_resident = missing[0] * self._block_size
        return num_resident

    def most_blocks(self, length: int) -> int:
        """Blocks held at a time, at most, while ``length`` tokens are computed from the start, a block at a time."""
        num_blocks = -(-length // self._block_size)
        ends = numpy.full(num_blocks, num_blocks, dtype=numpy.int64)
        touched = self.block_limits[:num_blocks]
        ends[: len(touched)] = numpy.minimum(touched // self._block_size + 2, num_blocks)
        changes = numpy.ones(num_blocks + 1, dtype=numpy.int64)
        numpy.subtract.at(changes, ends, 1)
        return int(changes[:num_blocks].cumsum().max(initial=0))

    def _is_missing(self, block: int, num_resident: int) -> bool:
        if block * self._block_size >= num_resident:
            return False
        return block >= len(self.block_limits) or bool(self.block_limits[block] > num_resident)


def held(blocks: Sequence[int]) -> list[int]:
    """The blocks of a table that are not freed."""
    return [block for block in blocks if block != FREED]


def held_slots(blocks: Sequence[int], block_size: int) -> tuple[list[int], Positions]:
    """The held blocks of a table, and the position of each of their tokens."""
    table = numpy.asarray(blocks, dtype=numpy.int64)
    indices: Any = numpy.flatnonzero(table != FREED)
    positions = (indices[:, None] * block_size + numpy.arange(block_size)).ravel()
    return table[indices].tolist(), positions
