"""The attention cache of all layers, in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor

from actors.engine.torch.copying import copy_limits


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Heads of one layer's keys and values, and their widths."""

    num_heads: int
    key_width: int
    value_width: int

    @property
    def keys_size(self) -> int:
        """Numbers in one token's keys."""
        return self.num_heads * self.key_width

    @property
    def size(self) -> int:
        """Numbers in one token's keys and values."""
        return self.num_heads * (self.key_width + self.value_width)


def block_bytes(shapes: Mapping[int, LayerShape], block_size: int, dtype: torch.dtype) -> int:
    """Bytes of one block over all layers."""
    return sum(shape.size for shape in shapes.values()) * block_size * dtype.itemsize


class KeyValues:
    """Keys and values, by layer number; a token's lie side by side.

    Attributes:
        slots: (blocks x block size, keys + values) of each layer: a row is a token.
        blocks: (blocks, block size x (keys + values)) of each layer, the same memory: a row is a block.
        limits: on what to copy, in blocks.
    """

    def __init__(
        self,
        shapes: Mapping[int, LayerShape],
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.shapes = dict(shapes)
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.device = device
        self.slots = {
            layer: _zeros(num_blocks * block_size, shape.size, dtype, device) for layer, shape in shapes.items()
        }
        self.blocks = {layer: slots.view(num_blocks, -1) for layer, slots in self.slots.items()}
        largest = max(shape.size for shape in shapes.values()) * block_size * dtype.itemsize
        self.limits = copy_limits(device).in_blocks(largest)

    def gather(self, layer: int, table: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
        """What lies in some blocks.

        Args:
            table: (rows x blocks of each,), int64.

        Returns:
            Keys and values, (rows, heads, blocks x block size, width) each; no memory of the cache.
        """
        shape = self.shapes[layer]
        found = self.blocks[layer].index_select(0, table).view(num_rows, -1, shape.size)
        num_slots = found.shape[1]
        keys = found[..., : shape.keys_size].view(num_rows, num_slots, shape.num_heads, shape.key_width)
        values = found[..., shape.keys_size :].view(num_rows, num_slots, shape.num_heads, shape.value_width)
        return keys.transpose(1, 2), values.transpose(1, 2)

    def span(self, layer: int, first_slot: int, length: int) -> tuple[Tensor, Tensor]:
        """What lies in one piece: keys and values, (1, heads, length, width) each, of the cache's own memory."""
        shape = self.shapes[layer]
        found = self.slots[layer][first_slot : first_slot + length]
        keys = found[:, : shape.keys_size].view(1, length, shape.num_heads, shape.key_width)
        values = found[:, shape.keys_size :].view(1, length, shape.num_heads, shape.value_width)
        return keys.transpose(1, 2), values.transpose(1, 2)

    def copy(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy blocks, given as (source, target), as if all at once."""
        sources, targets = zip(*pairs, strict=True)
        source = torch.tensor(sources, dtype=torch.int64, device=self.device)
        target = torch.tensor(targets, dtype=torch.int64, device=self.device)
        for rows in self.blocks.values():
            rows.index_copy_(0, target, rows.index_select(0, source))

    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero: what is not a number must not stay where others read and mask it."""
        for rows in self.blocks.values():
            rows[list(blocks)] = 0


def _zeros(num_rows: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that on the CPU take memory only where they are written to, which those of torch do not."""
    if device.type != "cpu":
        return torch.zeros(num_rows, size, dtype=dtype, device=device)
    zeros = torch.from_numpy(numpy.zeros(num_rows * size * dtype.itemsize, dtype=numpy.uint8))
    return zeros.view(dtype).view(num_rows, size)
