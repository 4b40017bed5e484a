"""Attention over contexts whose KV lies in blocks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from typing_extensions import override

from actors.engine.torch.attend import attend, attend_shared, causal_mask, group_mask, sparse_mask
from actors.engine.torch.batch import Batch
from actors.engine.torch.groups import Chunk, DecodeGroup, Prefix
from actors.engine.torch.key_values import KeyValues, LayerShape


class Attention(Protocol):
    """Computes the attention of one forward pass; each layer stores first and then reads."""

    def store(self, layer: int, keys_values: Tensor) -> None:
        """Keep the new tokens' KV: (tokens, keys + values), heads side by side."""
        ...

    def read(self, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
        """The new tokens' output.

        Args:
            query: (query heads, tokens, width).
            scale: dimensionless; scores are multiplied by it.
            window: tokens that each may look back on, itself included; None for all.
            cap: scores are bent to stay within it; None for none.

        Returns:
            (tokens, query heads, value width).
        """
        ...


class DenseAttention(Attention):
    """Attention of one sequence to itself, of which nothing is kept."""

    def __init__(self, shapes: dict[int, LayerShape]) -> None:
        self._shapes = shapes
        self._stored = torch.empty(0)

    @override
    def store(self, layer: int, keys_values: Tensor) -> None:
        self._stored = keys_values

    @override
    def read(self, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
        shape = self._shapes[layer]
        key = self._stored[:, : shape.keys_size].view(-1, shape.num_heads, shape.key_width).transpose(0, 1)
        value = self._stored[:, shape.keys_size :].view(-1, shape.num_heads, shape.value_width).transpose(0, 1)
        mask = causal_mask(query.shape[1], 0, window, query.dtype, query.device)
        return attend(query[None], key[None], value[None], mask, scale, cap)[0].transpose(0, 1)


class PagedAttention(Attention):
    """Attention of a packed batch to the blocks of its contexts. Masks are made once in a step, not in each layer."""

    def __init__(self, batch: Batch, key_values: KeyValues) -> None:
        self.batch = batch
        self.key_values = key_values
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    @override
    def store(self, layer: int, keys_values: Tensor) -> None:
        self.key_values.slots[layer].index_copy_(0, self.batch.slots, keys_values)

    @override
    def read(self, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
        batch = self.batch
        if len(batch.groups) + len(batch.chunks) == 1:
            if batch.groups:
                return self._read_group(batch.groups[0], layer, query, scale, window, cap)
            return self._read_chunk(batch.chunks[0], layer, query, scale, window, cap)
        width = self.key_values.shapes[layer].value_width
        output = query.new_empty(query.shape[1], query.shape[0], width)
        for group in batch.groups:
            rows = slice(group.first, group.last)
            output[rows] = self._read_group(group, layer, query[:, rows], scale, window, cap)
        for chunk in batch.chunks:
            rows = slice(chunk.first, chunk.last)
            output[rows] = self._read_chunk(chunk, layer, query[:, rows], scale, window, cap)
        return output

    def _read_group(
        self, group: DecodeGroup, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None
    ) -> Tensor:
        """The query heads that share a key head are put side by side, as if they were several new tokens."""
        shape = self.key_values.shapes[layer]
        num_rows = group.last - group.first
        first_seen = self._first_seen(group, window)
        num_hidden = first_seen // self.key_values.block_size
        first = num_hidden * self.key_values.block_size
        mask = self._group_mask(group, window, first, query)
        keys, values = self._read_own(group, layer, num_hidden)
        query = query.transpose(0, 1).reshape(num_rows, shape.num_heads, -1, shape.key_width)
        if group.prefix is not None and mask is not None:
            shared = self._read_prefix(group.prefix, layer)
            output = attend_shared(query, shared, (keys, values), mask, scale, cap)
        elif mask is None:
            seen = slice(first_seen - first, group.longest - first)
            output = attend(query, keys[:, :, seen], values[:, :, seen], None, scale, cap)
        else:
            output = attend(query, keys, values, mask, scale, cap)
        return output.reshape(num_rows, -1, shape.value_width)

    def _read_chunk(
        self, chunk: Chunk, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None
    ) -> Tensor:
        if chunk.first_slot is not None:
            keys, values = self.key_values.span(layer, chunk.first_slot, chunk.length)
        else:
            keys, values = self.key_values.gather(layer, chunk.table, 1)
            if chunk.slots is None:
                keys, values = keys[:, :, : chunk.length], values[:, :, : chunk.length]
        output = attend(query[None], keys, values, self._chunk_mask(chunk, window, query), scale, cap)
        return output[0].transpose(0, 1)

    def _read_own(self, group: DecodeGroup, layer: int, num_hidden: int) -> tuple[Tensor, Tensor]:
        """What the rows do not share, without so many blocks at the beginning."""
        first = num_hidden * self.key_values.block_size
        if group.first_slot is not None:
            return self.key_values.span(layer, group.first_slot + first, group.longest - first)
        num_rows = group.last - group.first
        table = group.table.view(num_rows, -1)[:, num_hidden:].flatten() if num_hidden else group.table
        return self.key_values.gather(layer, table, num_rows)

    def _read_prefix(self, prefix: Prefix, layer: int) -> tuple[Tensor, Tensor]:
        if prefix.first_slot is not None:
            return self.key_values.span(layer, prefix.first_slot, prefix.length)
        return self.key_values.gather(layer, prefix.table, 1)

    @staticmethod
    def _first_seen(group: DecodeGroup, window: int | None) -> int:
        """The first position that a row of the group sees; 0 where that is not reckoned with."""
        if window is None or group.prefix is not None or group.positions is not None:
            return 0
        return max(0, group.shortest - window)

    def _group_mask(self, group: DecodeGroup, window: int | None, first: int, query: Tensor) -> Tensor | None:
        """Of the slots from ``first`` on; None for a single row without holes, which sees all, or a slice."""
        if group.last - group.first == 1 and group.positions is None:
            return None
        name = (group.first, window)
        if name not in self._masks:
            mask = group_mask(group, self.key_values.block_size, window, query.dtype)
            self._masks[name] = mask[..., first:]
        return self._masks[name]

    def _chunk_mask(self, chunk: Chunk, window: int | None, query: Tensor) -> Tensor:
        name = (chunk.first, window)
        if name not in self._masks and chunk.slots is not None:
            self._masks[name] = sparse_mask(query.shape[1], chunk.start, chunk.slots, window, query.dtype)
        elif name not in self._masks:
            self._masks[name] = causal_mask(query.shape[1], chunk.start, window, query.dtype, query.device)
        return self._masks[name]
