"""Extreme numbers in every field of ``Sampling`` at once: refused, or a token of the vocabulary and finite numbers."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from actors.engine.sampling.penalties import TokenHistory, needs_history
from actors.engine.sampling.sampler import Draw, sample
from api.errors import InvalidRequest
from api.turns import Sampling

VOCAB = 64
CPU = torch.device("cpu")
NUMBERS = (0, 1, -1, 0.5, 2, -2, 20, 100, -100, 0.01, 1e-45, 5e-324, 1e-5, 1e39, -1e39, 1e308, 2**31 - 1, 2**63, 2**64)
NO_NUMBERS = (math.nan, math.inf, -math.inf, 10**400)
FIELDS = (
    *("temperature", "top_k", "top_p", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "seed", "num_logprobs"),
)


def extreme_fields(chance: random.Random) -> dict[str, Any]:
    """Some fields with some number, mostly one that is allowed in some of them."""
    numbers = NUMBERS if chance.random() < 0.9 else NO_NUMBERS
    fields: dict[str, Any] = {name: chance.choice(numbers) for name in FIELDS if chance.random() < 0.15}
    if chance.random() < 0.3:
        fields["logit_bias"] = tuple((chance.randrange(VOCAB), chance.choice(numbers)) for _ in range(5))
    return fields


def extreme_logits(chance: random.Random) -> Tensor:
    """Of a model that is sane (up to 100), or one that has gone far (up to 1e30); some tokens are impossible."""
    logits = torch.randn(VOCAB, generator=torch.Generator().manual_seed(chance.randrange(2**31)))
    logits *= chance.choice((1e-6, 1.0, 30.0, 1e4, 1e30))
    logits[[chance.randrange(VOCAB) for _ in range(3)]] = -math.inf
    return logits


def history(chance: random.Random, sampling: Sampling) -> TokenHistory | None:
    if not needs_history(sampling):
        return None
    made = TokenHistory(VOCAB, [chance.randrange(VOCAB) for _ in range(9)], CPU)
    for _ in range(chance.choice((0, 1, 40))):
        made.append(chance.randrange(VOCAB))
    return made


@pytest.mark.parametrize("num_draws", [500, pytest.param(2500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", range(4))
def test_every_combination_is_refused_or_gives_finite_numbers_and_a_token_of_the_vocabulary(
    seed: int, num_draws: int
) -> None:
    chance = random.Random(seed)
    num_refused = num_drawn = 0
    for _ in range(num_draws):
        try:
            sampling = Sampling(**extreme_fields(chance))
        except InvalidRequest:
            num_refused += 1
            continue
        num_drawn += 1
        distribution = chance.choice((None, None, VOCAB))
        draw = Draw(sampling, sampling.seed or 0, 0, history(chance, sampling), distribution=distribution)
        neighbour = Draw(Sampling(temperature=1.0), 1, 0)
        drawn = sample(torch.stack([extreme_logits(chance), torch.zeros(VOCAB)]), [draw, neighbour])[0]
        assert drawn.is_valid, sampling
        assert not drawn.is_stuck
        assert 0 <= drawn.token_id < VOCAB
        numbers = [] if drawn.logprobs is None else [drawn.logprobs.chosen, *(value for _, value in drawn.logprobs.top)]
        if drawn.distribution is not None:
            numbers += [drawn.distribution.entropy, *(value for _, value in drawn.distribution.top)]
        assert all(math.isfinite(number) for number in numbers), (sampling, numbers)
    assert min(num_refused, num_drawn) > num_draws / 10, "both must be tried"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presence_penalty", 1e308),
        ("repetition_penalty", 1e-45),
        ("frequency_penalty", -1e308),
        ("temperature", 1e-300),
    ],
)
def test_scores_that_adjusting_makes_no_numbers_are_marked_and_spoil_no_other(name: str, value: float) -> None:
    """Without the bounds, which an engine does not rely on."""
    sampling = Sampling(temperature=1.0)
    object.__setattr__(sampling, name, value)
    made = TokenHistory(VOCAB, range(VOCAB), CPU)
    for token_id in range(VOCAB):
        made.append(token_id)
    logits = torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(5)) * 3
    plain = Draw(Sampling(temperature=1.0), 1, 0)
    drawn = sample(logits, [plain, Draw(sampling, 1, 0, made), plain])
    is_failed = not drawn[1].is_valid or drawn[1].is_stuck
    assert is_failed is (name != "temperature"), "the coldest temperatures count as one that is not so cold"
    assert [drawn[0]] == sample(logits[:1], [plain])
    assert [drawn[2]] == sample(logits[2:], [plain])
