"""The blocks of the attention cache: free, held, shared."""

from __future__ import annotations

from collections.abc import Iterable


class BlockPool:
    """Hands out block numbers and counts their holders. A block with several holders must not be written to.

    New tables start far apart and grow into the next block where that is free, so that most lie in one piece and can be
    read without being gathered.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.num_free = num_blocks
        self._num_holders = [0] * num_blocks
        # Last in, first out; what was taken as a neighbour is skipped when it comes up.
        self._queue = _far_apart(num_blocks)
        self._is_queued = [True] * num_blocks

    def allocate(self, neighbour: int | None = None) -> int:
        """A free block, with one holder; the one after ``neighbour`` if it can be.

        Raises:
            IndexError: none is free.
        """
        block = -1 if neighbour is None else neighbour + 1
        if not 0 <= block < self.num_blocks or self._num_holders[block]:
            block = self._pop()
        self._num_holders[block] = 1
        self.num_free -= 1
        return block

    def share(self, blocks: Iterable[int]) -> None:
        """Add a holder to each."""
        for block in blocks:
            assert self._num_holders[block] > 0, f"block {block} is free"
            self._num_holders[block] += 1

    def release(self, blocks: Iterable[int]) -> None:
        """Take a holder from each; a block without one becomes free."""
        for block in blocks:
            assert self._num_holders[block] > 0, f"block {block} is free already"
            self._num_holders[block] -= 1
            if self._num_holders[block] == 0:
                self.num_free += 1
                if not self._is_queued[block]:
                    self._is_queued[block] = True
                    self._queue.append(block)

    def is_shared(self, block: int) -> bool:
        """Whether a block has several holders."""
        return self._num_holders[block] > 1

    def check(self, tables: Iterable[Iterable[int]]) -> None:
        """Count the holders anew from all block tables.

        Raises:
            AssertionError: the count is another, or a block is both free and held.
        """
        counted = [0] * self.num_blocks
        for table in tables:
            for block in table:
                counted[block] += 1
        assert counted == self._num_holders, "block reference counts do not match the block tables"
        assert self.num_free == counted.count(0), "the number of free blocks is wrong"
        assert len(set(self._queue)) == len(self._queue) == sum(self._is_queued), "a block is queued twice"
        assert all(self._is_queued[block] for block, count in enumerate(counted) if count == 0), "a block is lost"

    def _pop(self) -> int:
        while True:
            block = self._queue.pop()
            self._is_queued[block] = False
            if self._num_holders[block] == 0:
                return block


def _far_apart(num_blocks: int) -> list[int]:
    """All block numbers, in an order that halves the distance between its ends again and again."""
    width = max(1, (num_blocks - 1).bit_length())
    order = (int(f"{number:0{width}b}"[::-1], 2) for number in range(1 << width))
    return [block for block in order if block < num_blocks][::-1]
