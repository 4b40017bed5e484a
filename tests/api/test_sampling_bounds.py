"""What a number of ``Sampling`` may be. The limits of penalties and biases are those of the OpenAI API's reference."""

from __future__ import annotations

import math
from typing import Any

import pytest

from api.errors import InvalidRequest
from api.turns import Sampling

OPENAI: dict[str, tuple[int, int]] = {
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "top_p": (0, 1),
    "num_logprobs": (0, 20),
}
REAL_USE: dict[str, tuple[Any, ...]] = {
    "temperature": (0, 1e-30, 0.7, 2.0, 5.0),
    "top_k": (0, 1, 50, 1_000_000),
    "min_p": (0, 0.05, 1),
    "repetition_penalty": (0.5, 1, 1.3, 2.0),
    "seed": (None, 0, -1, 2**63, -(2**63), 2**64 - 1),
}
NO_NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -1e308, 2**63 * 4, 10**400, "1", "x")


def sampling(name: str, value: Any) -> Sampling:
    return Sampling(**{name: value})


@pytest.mark.parametrize("name", OPENAI)
def test_the_limits_of_the_openai_api_are_allowed_and_nothing_beyond(name: str) -> None:
    low, high = OPENAI[name]
    for value in (low, high):
        sampling(name, value)
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidRequest, match=f"^{name} must be a (whole )?number from {low} to {high}$"):
            sampling(name, value)


@pytest.mark.parametrize("name", REAL_USE)
def test_what_people_use_is_allowed(name: str) -> None:
    for value in REAL_USE[name]:
        assert getattr(sampling(name, value), name) == value


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", [*OPENAI, *REAL_USE])
def test_what_is_no_number_or_huge_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} must be"):
        sampling(name, value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 100.5, -101])
def test_a_bias_beyond_the_limits_is_refused(value: Any) -> None:
    Sampling(logit_bias=((7, 100), (8, -100.0)))
    with pytest.raises(InvalidRequest, match="^logit_bias must be a number from -100 to 100$"):
        Sampling(logit_bias=((7, value),))
    with pytest.raises(InvalidRequest, match="^a token id of logit_bias must be a whole number"):
        Sampling(logit_bias=((value, 1.0),))


@pytest.mark.parametrize("name", ["top_k", "num_logprobs", "seed"])
def test_half_a_token_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="whole number"):
        sampling(name, 2.5)
