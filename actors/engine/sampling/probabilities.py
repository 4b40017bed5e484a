"""Log-probabilities of rows of scores, for those who asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from api.turns import Distribution, TokenLogprobs


def chosen_logprobs(scores: Tensor, ids: Tensor, numbers: Sequence[int | None]) -> list[TokenLogprobs | None]:
    """Of the chosen token and of the likeliest, for each row.

    Args:
        scores: (batch, vocab), float32, unnormalised; -inf for what is not allowed.
        ids: (batch,), int64: the chosen tokens.
        numbers: how many of the likeliest each row wants; None where it wants nothing.
    """
    if all(number is None for number in numbers):
        return [None] * len(numbers)
    logprobs = torch.log_softmax(scores, dim=-1)
    chosen: list[float] = logprobs.gather(-1, ids.unsqueeze(-1)).squeeze(-1).tolist()
    tops = _tops(logprobs, max(number or 0 for number in numbers))
    return [
        None if number is None else TokenLogprobs(chosen[row], tops[row][:number]) for row, number in enumerate(numbers)
    ]


def distributions(scores: Tensor, numbers: Sequence[int | None]) -> list[Distribution | None]:
    """The likeliest tokens and the entropy of each row that wants some; arguments as above."""
    if all(number is None for number in numbers):
        return [None] * len(numbers)
    logprobs = torch.log_softmax(scores, dim=-1)
    entropies: list[float] = torch.special.entr(logprobs.exp()).sum(dim=-1).tolist()
    tops = _tops(logprobs, max(number or 0 for number in numbers))
    return [
        None if number is None else Distribution(tops[row][:number], entropies[row])
        for row, number in enumerate(numbers)
    ]


def _tops(logprobs: Tensor, number: int) -> list[tuple[tuple[int, float], ...]]:
    """(token id, log-probability) of the likeliest in each row, without those that are not allowed."""
    top = torch.topk(logprobs, min(number, logprobs.shape[-1]), dim=-1)
    rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [tuple((i, value) for i, value in zip(*row, strict=True) if value > -math.inf) for row in rows]
