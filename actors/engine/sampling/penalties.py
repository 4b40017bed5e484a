"""What a turn's penalties have to know of the tokens so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from api.turns import Sampling


class TokenHistory:
    """Which tokens a context has, and how often its turn has produced each.

    Attributes:
        seen: (vocab,), bool: tokens anywhere in the context.
        counts: (vocab,), float32: times that this turn has produced each.
    """

    def __init__(self, vocab_size: int, context: Sequence[int], device: torch.device) -> None:
        self.seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
        self.counts = torch.zeros(vocab_size, dtype=torch.float32, device=device)
        self.seen[torch.tensor(list(context), dtype=torch.int64, device=device)] = True

    def append(self, token_id: int) -> None:
        """Take note of an output token."""
        self.seen[token_id] = True
        self.counts[token_id] += 1


def needs_history(sampling: Sampling) -> bool:
    """Whether a turn has a penalty."""
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


def penalise(scores: Tensor, history: TokenHistory, sampling: Sampling) -> Tensor:
    """Scores of one row with its penalties.

    Args:
        scores: (vocab,), float32, unnormalised.

    Returns:
        (vocab,), float32: what was seen is divided by the repetition penalty where positive, else multiplied; then the
        presence and the frequency penalty are subtracted from what this turn has produced.
    """
    if sampling.repetition_penalty != 1:
        penalised = torch.where(scores < 0, scores * sampling.repetition_penalty, scores / sampling.repetition_penalty)
        scores = torch.where(history.seen, penalised, scores)
    if sampling.presence_penalty != 0:
        scores = scores - sampling.presence_penalty * (history.counts > 0)
    if sampling.frequency_penalty != 0:
        scores = scores - sampling.frequency_penalty * history.counts
    return scores
