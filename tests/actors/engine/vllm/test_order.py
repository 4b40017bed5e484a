"""What travels between a turn and the process that draws its tokens."""

from __future__ import annotations

import math
import random

import pytest

from actors.engine.vllm.order import (
    NOTHING,
    Order,
    read_distribution,
    read_logprobs,
    written_distribution,
    written_logprobs,
)
from api.constraints import Regex
from api.turns import Distribution, Sampling, TokenLogprobs

VOCABULARY = 40


def row(seed: int) -> list[float]:
    """(vocab,) log-probabilities."""
    chance = random.Random(seed)
    weights = [chance.random() ** 4 for _ in range(VOCABULARY)]
    return [math.log(weight / sum(weights)) for weight in weights]


def largest(values: dict[int, float], number: int) -> tuple[int, dict[int, float]]:
    """What vLLM brings of a row: the token of the largest value, and so many of the largest."""
    full = {token_id: values.get(token_id, -math.inf) for token_id in range(VOCABULARY)}
    order = sorted(full, key=lambda token_id: -full[token_id])
    return order[0], {token_id: full[token_id] for token_id in order[:number]}


def test_an_order_arrives_as_it_was() -> None:
    order = Order(Sampling(temperature=0.5, logit_bias=((3, 1.0),)), 7, 2, (1, 2), Regex("a+"), None)
    assert Order.from_bytes(order.to_bytes()) == order


def test_only_what_is_nothing_but_greedy_is_plain() -> None:
    assert Order(Sampling(seed=5), 5).is_plain
    assert not any(
        order.is_plain
        for order in (
            Order(Sampling(temperature=1.0), 5),
            Order(Sampling(num_logprobs=0), 5),
            Order(Sampling(), 5, allowed_tokens=(1,)),
            Order(Sampling(), 5, constraint=Regex("a")),
            Order(Sampling(), 5, distribution=1),
        )
    )


@pytest.mark.parametrize("number", [0, 1, 5, 20])
@pytest.mark.parametrize("token_id", range(0, VOCABULARY, 7))
def test_the_drawn_token_is_the_largest_and_its_neighbours_come_back_exactly(token_id: int, number: int) -> None:
    logprobs = row(token_id)
    likeliest = sorted(range(VOCABULARY), key=lambda i: -logprobs[i])[:number]
    given = TokenLogprobs(logprobs[token_id], tuple((i, logprobs[i]) for i in likeliest))
    chosen, values = largest(written_logprobs(token_id, given), number + 1)
    assert chosen == token_id
    assert read_logprobs(chosen, values, number) == given


@pytest.mark.parametrize("number", [1, 5, VOCABULARY - 1, VOCABULARY])
def test_a_distribution_comes_back_with_its_entropy(number: int) -> None:
    logprobs = row(3)
    likeliest = sorted(range(VOCABULARY), key=lambda i: -logprobs[i])[:number]
    entropy = -sum(math.exp(value) * value for value in logprobs)
    given = Distribution(tuple((i, logprobs[i]) for i in likeliest), entropy)
    found = read_distribution(*largest(written_distribution(given, VOCABULARY), number + 1), number)
    assert found.top == given.top
    assert found.entropy == pytest.approx(entropy)


def test_of_a_row_in_which_nothing_is_allowed_nothing_comes_back() -> None:
    assert read_distribution(*largest({0: NOTHING}, 6), 5).top == ()
