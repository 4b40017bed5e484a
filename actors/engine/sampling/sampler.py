"""From logits to the next tokens, for a whole batch at once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from actors.engine.constraints.matcher import Matcher
from actors.engine.sampling.filters import keep_min_p, keep_top_k, keep_top_p
from actors.engine.sampling.penalties import TokenHistory, penalise
from actors.engine.sampling.probabilities import chosen_logprobs, distributions
from api.turns import Distribution, Sampling, TokenLogprobs

_COLDEST = 1e-5
"""Temperatures below this would overflow; they draw the largest anyway."""


@dataclass(slots=True)
class Draw:
    """One row to be drawn: how, with which seed, at which offset of its turn.

    Attributes:
        allowed: (vocab,), bool: tokens that may be drawn; None for all.
        matcher: the turn's place in its grammar, which may forbid more; None without one.
        distribution: see ``TurnRequest``.
    """

    sampling: Sampling
    seed: int
    offset: int
    history: TokenHistory | None = None
    allowed: Tensor | None = None
    matcher: Matcher | None = None
    distribution: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the largest logit is all that is wanted."""
        sampling = self.sampling
        return (
            sampling.temperature == 0
            and self.history is None
            and self.allowed is None
            and self.matcher is None
            and self.distribution is None
            and not sampling.logit_bias
            and sampling.num_logprobs is None
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """One row's token, or the distribution that was asked for instead.

    ``is_valid`` is False where the logits are not numbers, as the model computed them or as they were adjusted;
    ``is_stuck`` is True where no token is allowed.
    """

    token_id: int
    logprobs: TokenLogprobs | None = None
    is_valid: bool = True
    distribution: Distribution | None = None
    is_stuck: bool = False


def uniform(seed: int, offset: int) -> float:
    """A number in [0, 1) that depends on (seed, offset) only: 53 bits of BLAKE2b."""
    digest = hashlib.blake2b(f"{seed}:{offset}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def sample(logits: Tensor, draws: Sequence[Draw]) -> list[Drawn]:
    """Draw one token for each row.

    Args:
        logits: (batch, vocab), any floating type, unnormalised.
        draws: one for each row.
    """
    largest = logits.max(dim=-1)
    ids: list[int] = largest.indices.tolist()
    valid: list[bool] = largest.values.isfinite().tolist()
    drawn = [Drawn(token_id, is_valid=is_valid) for token_id, is_valid in zip(ids, valid, strict=True)]
    rows = [row for row, draw in enumerate(draws) if drawn[row].is_valid and not draw.is_plain]
    if rows:
        chosen = _sample_rows(logits[rows].float(), [draws[row] for row in rows])
        for row, result in zip(rows, chosen, strict=True):
            drawn[row] = result
    return drawn


def _sample_rows(scores: Tensor, draws: Sequence[Draw]) -> list[Drawn]:
    raw_rows = [row for row, draw in enumerate(draws) if draw.sampling.raw_logprobs]
    raw = scores[raw_rows] if raw_rows else scores
    for row, draw in enumerate(draws):
        _adjust(scores[row], draw)
    temperatures = [max(draw.sampling.temperature, _COLDEST) if draw.sampling.temperature else 1.0 for draw in draws]
    divisors = torch.tensor(temperatures, dtype=torch.float32, device=scores.device)
    scores = scores / divisors.unsqueeze(-1)
    largest: list[float] = scores.amax(dim=-1).tolist()
    if failed := [row for row, value in enumerate(largest) if not math.isfinite(value)]:
        scores[failed] = 0.0
    chosen = scores.argmax(dim=-1)
    random_rows = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if random_rows:
        filtered = _filter(scores[random_rows], [draws[row].sampling for row in random_rows])
        chosen[random_rows] = _draw(filtered, [uniform(draws[row].seed, draws[row].offset) for row in random_rows])
    judged = scores
    if raw_rows:
        judged = scores.clone()
        judged[raw_rows] = raw
    return [
        Drawn(token_id, logprobs, best < math.inf, distribution, best == -math.inf)
        for token_id, logprobs, best, distribution in zip(
            chosen.tolist(),
            chosen_logprobs(judged, chosen, [draw.sampling.num_logprobs for draw in draws]),
            largest,
            distributions(scores, [draw.distribution for draw in draws]),
            strict=True,
        )
    ]


def _adjust(scores: Tensor, draw: Draw) -> None:
    """Penalise, push and mask one row, (vocab,), in place."""
    if draw.history is not None:
        scores.copy_(penalise(scores, draw.history, draw.sampling))
    if draw.sampling.logit_bias:
        ids, biases = zip(*draw.sampling.logit_bias, strict=True)
        index = torch.tensor(ids, dtype=torch.int64, device=scores.device)
        scores.index_add_(0, index, torch.tensor(biases, dtype=torch.float32, device=scores.device))
    if draw.allowed is not None:
        scores.masked_fill_(~draw.allowed, -math.inf)
    if draw.matcher is not None:
        scores.masked_fill_(~draw.matcher.allowed().to(scores.device), -math.inf)


def _filter(scores: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    device = scores.device
    scores = keep_top_k(scores, torch.tensor([s.top_k for s in samplings], dtype=torch.int64, device=device))
    scores = keep_top_p(scores, torch.tensor([s.top_p for s in samplings], dtype=torch.float32, device=device))
    return keep_min_p(scores, torch.tensor([s.min_p for s in samplings], dtype=torch.float32, device=device))


def _draw(scores: Tensor, uniforms: Sequence[float]) -> Tensor:
    """The token at which the cumulative probability passes the row's number.

    Args:
        scores: (batch, vocab), float32, unnormalised; removed tokens are -inf.
        uniforms: (batch,), in [0, 1).

    Returns:
        (batch,), int64 token ids.
    """
    cumulative = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)
    total = cumulative[:, -1:]
    target = torch.tensor(uniforms, dtype=torch.float64, device=scores.device).unsqueeze(-1) * total
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)
