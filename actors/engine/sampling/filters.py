"""Top-k, top-p and min-p over a batch of rows, each row with its own parameters."""

from __future__ import annotations

import torch
from torch import Tensor

_REMOVED = float("-inf")


def keep_top_k(scores: Tensor, top_k: Tensor) -> Tensor:
    """Remove what is smaller than the k-th largest.

    Args:
        scores: (batch, vocab), float32, unnormalised.
        top_k: (batch,), int64; 0 is off.
    """
    most = min(int(top_k.max()), scores.shape[-1])
    if most <= 0:
        return scores
    largest = torch.topk(scores, most, dim=-1).values
    position = (top_k.clamp(1, most) - 1).unsqueeze(-1)
    smallest_kept = largest.gather(-1, position).masked_fill((top_k <= 0).unsqueeze(-1), _REMOVED)
    return scores.masked_fill(scores < smallest_kept, _REMOVED)


def keep_top_p(scores: Tensor, top_p: Tensor) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probability is at least ``top_p``, at least one.

    Args:
        scores: (batch, vocab), float32, unnormalised.
        top_p: (batch,), float32; >= 1 is off.
    """
    if bool((top_p >= 1).all()):
        return scores
    probabilities, order = torch.sort(torch.softmax(scores, dim=-1), dim=-1, descending=True)
    larger = probabilities.cumsum(dim=-1) - probabilities
    limit = torch.where(top_p >= 1, torch.full_like(top_p, 2.0), top_p).unsqueeze(-1)
    is_removed = larger >= limit
    is_removed[..., 0] = False
    return scores.masked_fill(torch.zeros_like(is_removed).scatter(-1, order, is_removed), _REMOVED)


def keep_min_p(scores: Tensor, min_p: Tensor) -> Tensor:
    """Remove tokens less than ``min_p`` times as likely as the likeliest.

    Args:
        scores: (batch, vocab), float32, unnormalised.
        min_p: (batch,), float32, in [0, 1]; 0 is off.
    """
    if not bool((min_p > 0).any()):
        return scores
    probabilities = torch.softmax(scores, dim=-1)
    likeliest = probabilities.amax(dim=-1, keepdim=True)
    return scores.masked_fill(probabilities < min_p.unsqueeze(-1) * likeliest, _REMOVED)
