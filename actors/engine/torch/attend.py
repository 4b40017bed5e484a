"""Attention of given queries to given keys and values, and its masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from actors.engine.torch.groups import DecodeGroup

_MASKED = float("-inf")


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


def group_mask(group: DecodeGroup, block_size: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """(rows, 1, 1, slots of the prefix and of the table): 0 where a row's token may look, -inf elsewhere."""
    position, lengths = group.positions, group.lengths.unsqueeze(-1)
    if position is None:
        num_before = 0 if group.prefix is None else group.prefix.length
        num_slots = num_before + len(group.table) // len(lengths) * block_size
        position = torch.arange(num_slots, device=lengths.device)
    is_hidden = position >= lengths
    if window is not None:
        is_hidden |= position < lengths - window
    return _as_mask(is_hidden, dtype)[:, None, None, :]


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


def attend_shared(
    query: Tensor,
    shared: tuple[Tensor, Tensor],
    own: tuple[Tensor, Tensor],
    mask: Tensor,
    scale: float,
    cap: float | None,
) -> Tensor:
    """Attention of each row of a batch to keys and values that all rows share, and to its own.

    Args:
        query: (rows, heads, new, width).
        shared: keys and values, (1, heads, shared tokens, width) each.
        own: keys and values, (rows, heads, own tokens, width) each.
        mask: (rows, 1, 1, shared and own tokens); added to the scores.
        cap: see ``attend``.

    Returns:
        (rows, heads, new, value width).
    """
    rows, heads, num_new, _ = query.shape
    side_by_side = query.transpose(0, 1).reshape(heads, rows * num_new, -1)
    shared_scores = torch.bmm(side_by_side, shared[0][0].transpose(-1, -2)).view(heads, rows, num_new, -1)
    scores = torch.cat([shared_scores.transpose(0, 1), query @ own[0].transpose(-1, -2)], dim=-1) * scale
    if cap is not None:
        scores = torch.tanh(scores / cap) * cap
    weights = torch.softmax(scores + mask, dim=-1, dtype=torch.float32).to(query.dtype)
    num_shared = shared[0].shape[2]
    of_shared = weights[..., :num_shared].transpose(0, 1).reshape(heads, rows * num_new, -1)
    output = torch.bmm(of_shared, shared[1][0]).view(heads, rows, num_new, -1).transpose(0, 1)
    return output + weights[..., num_shared:] @ own[1]


def _as_mask(is_hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(is_hidden.shape, dtype=dtype, device=is_hidden.device).masked_fill_(is_hidden, _MASKED)
