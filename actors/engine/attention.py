"""Attention over contexts whose KV lies in blocks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from actors.engine.batch import Batch, Chunk, DecodeGroup
from actors.engine.key_values import KeyValues, LayerShape

_MASKED = float("-inf")


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


class DenseAttention:
    """Attention of one sequence to itself, of which nothing is kept."""

    def __init__(self, shapes: dict[int, LayerShape]) -> None:
        self._shapes = shapes
        self._stored = torch.empty(0)

    def store(self, layer: int, keys_values: Tensor) -> None:
        """See ``Attention``."""
        self._stored = keys_values

    def read(self, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
        """See ``Attention``."""
        shape = self._shapes[layer]
        key = self._stored[:, : shape.keys_size].view(-1, shape.num_heads, shape.key_width).transpose(0, 1)
        value = self._stored[:, shape.keys_size :].view(-1, shape.num_heads, shape.value_width).transpose(0, 1)
        mask = causal_mask(query.shape[1], 0, window, query.dtype, query.device)
        return attend(query[None], key[None], value[None], mask, scale, cap)[0].transpose(0, 1)


class PagedAttention:
    """Attention of a packed batch to the blocks of its contexts. Masks are made once in a step, not in each layer."""

    def __init__(self, batch: Batch, key_values: KeyValues) -> None:
        self._batch = batch
        self._key_values = key_values
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    def store(self, layer: int, keys_values: Tensor) -> None:
        """See ``Attention``."""
        self._key_values.slots[layer].index_copy_(0, self._batch.slots, keys_values)

    def read(self, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
        """See ``Attention``."""
        batch = self._batch
        if len(batch.groups) + len(batch.chunks) == 1:
            if batch.groups:
                return self._read_group(batch.groups[0], layer, query, scale, window, cap)
            return self._read_chunk(batch.chunks[0], layer, query, scale, window, cap)
        width = self._key_values.shapes[layer].value_width
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
        shape = self._key_values.shapes[layer]
        num_rows = group.last - group.first
        if group.first_slot is not None:
            keys, values = self._key_values.span(layer, group.first_slot, group.longest)
        else:
            keys, values = self._key_values.gather(layer, group.table, num_rows)
        query = query.transpose(0, 1).reshape(num_rows, shape.num_heads, -1, shape.key_width)
        if num_rows == 1 and group.positions is None:
            seen = slice(0 if window is None else max(0, group.longest - window), group.longest)
            output = attend(query, keys[:, :, seen], values[:, :, seen], None, scale, cap)
        else:
            output = attend(query, keys, values, self._group_mask(group, keys.shape[2], window, query), scale, cap)
        return output.reshape(num_rows, -1, shape.value_width)

    def _read_chunk(
        self, chunk: Chunk, layer: int, query: Tensor, scale: float, window: int | None, cap: float | None
    ) -> Tensor:
        if chunk.first_slot is not None:
            keys, values = self._key_values.span(layer, chunk.first_slot, chunk.length)
        else:
            keys, values = self._key_values.gather(layer, chunk.table, 1)
            if chunk.slots is None:
                keys, values = keys[:, :, : chunk.length], values[:, :, : chunk.length]
        output = attend(query[None], keys, values, self._chunk_mask(chunk, window, query), scale, cap)
        return output[0].transpose(0, 1)

    def _group_mask(self, group: DecodeGroup, num_slots: int, window: int | None, query: Tensor) -> Tensor:
        name = (group.first, window)
        if name not in self._masks:
            position = torch.arange(num_slots, device=query.device) if group.positions is None else group.positions
            lengths = group.lengths.unsqueeze(-1)
            is_hidden = position >= lengths
            if window is not None:
                is_hidden |= position < lengths - window
            self._masks[name] = _as_mask(is_hidden, query.dtype)[:, None, None, :]
        return self._masks[name]

    def _chunk_mask(self, chunk: Chunk, window: int | None, query: Tensor) -> Tensor:
        name = (chunk.first, window)
        if name not in self._masks and chunk.slots is not None:
            self._masks[name] = sparse_mask(query.shape[1], chunk.start, chunk.slots, window, query.dtype)
        elif name not in self._masks:
            self._masks[name] = causal_mask(query.shape[1], chunk.start, window, query.dtype, query.device)
        return self._masks[name]


def causal_mask(num_new: int, start: int, window: int | None, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(new, start + new): 0 where a new token may look, -inf elsewhere."""
    position = torch.arange(start + num_new, device=device)
    own = position[start:].unsqueeze(-1)
    is_hidden = position > own
    if window is not None:
        is_hidden |= position <= own - window
    return _as_mask(is_hidden, dtype)


def sparse_mask(num_new: int, start: int, slots: Tensor, window: int | None, dtype: torch.dtype) -> Tensor:
    """(new, slots), as ``causal_mask``, for slots with the positions and limits of ``Chunk.slots``."""
    position, limit = slots
    own = torch.arange(start, start + num_new, device=slots.device).unsqueeze(-1)
    is_hidden = (position > own) | (limit <= own)
    if window is not None:
        is_hidden |= position <= own - window
    return _as_mask(is_hidden, dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, cap: float | None) -> Tensor:
    """Attention of each row of a batch to itself.

    Args:
        query: (rows, query heads, new, width).
        key, value: (rows, heads, tokens, width); each head serves as many query heads, in order.
        mask: broadcast to (rows, query heads, new, tokens); added to the scores.
        cap: dimensionless; scores become cap x tanh(score / cap).

    Returns:
        (rows, query heads, new, value width).
    """
    num_groups = query.shape[1] // key.shape[1]
    if cap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale, enable_gqa=num_groups > 1)
    if num_groups > 1:
        key, value = key.repeat_interleave(num_groups, dim=1), value.repeat_interleave(num_groups, dim=1)
    scores = torch.tanh(query @ key.transpose(-1, -2) * (scale / cap)) * cap
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def _as_mask(is_hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(is_hidden.shape, dtype=dtype, device=is_hidden.device).masked_fill_(is_hidden, _MASKED)
