"""Which contexts' KV is copied before it is attended to, and how much of it at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """How much of one layer to copy, in bytes or in blocks.

    Attributes:
        together: of several contexts that are computed as one, at most.
        alone: a single context of a size within is copied even where it could be read in one piece.
    """

    together: int
    alone: range

    def in_blocks(self, block_bytes: int) -> CopyLimits:
        """Bytes to blocks of so many bytes."""
        alone = range(-(-self.alone.start // block_bytes), -(-self.alone.stop // block_bytes))
        return CopyLimits(self.together // block_bytes, alone)


ON_CPU = CopyLimits(together=4 << 20, alone=range(1 << 20, 6 << 20))
"""What a CPU reads in order it fetches ahead, but in the cache the tokens of one head lie a whole token apart.

Measured on an AMD EPYC (torch 2.13, float32, one and two threads), with 1 to 8 heads of 32 to 256: copying a single
context first cost 5 µs below 1 MiB, and made its attention take 55 to 105 % of the time within. 16 contexts of 800
tokens, 1.2 MB each, took 80 µs each in groups of 4, 180 to 300 in one of 16, which fits no cache.
"""

ELSEWHERE = CopyLimits(together=256 << 20, alone=range(0))
"""A GPU would have all in one call; this bounds the memory that copies take."""


def copy_limits(device: torch.device) -> CopyLimits:
    """What pays on a device, in bytes."""
    return ON_CPU if device.type == "cpu" else ELSEWHERE
