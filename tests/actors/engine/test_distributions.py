"""Turns that ask for the next token's distribution, and turns that may draw only some tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from api.errors import InvalidRequest
from api.turns import Distribution, Sampling, TurnRequest
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import BLOCK, Driver, prompt

WHOLE = {"distribution": 384}


async def ask(driver: Driver, context_id: str, tokens: list[int], turn_id: str, **others: Any) -> Distribution:
    assert await driver.run(context_id, tokens, turn_id=turn_id, **(WHOLE | others)) == []
    finish = driver.finish_of(turn_id)
    assert finish.reason == "distribution"
    assert finish.distribution is not None
    return finish.distribution


def assert_is(found: Distribution, expected: torch.Tensor) -> None:
    """Against logits, (vocab,)."""
    logprobs = torch.log_softmax(expected.double(), dim=-1)
    assert [value for _, value in found.top] == pytest.approx(
        [float(logprobs[token_id]) for token_id, _ in found.top], abs=1e-3
    )
    assert found.entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), abs=1e-3)
    best = torch.topk(logprobs, len(found.top)).values.tolist()
    assert [value for _, value in found.top] == pytest.approx(best, abs=1e-3)


async def test_a_distribution_is_that_of_the_model_and_adds_no_token(
    driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    tokens = prompt(6)
    found = await ask(driver, "context", tokens, "first")
    assert len(found.top) == 384
    assert_is(found, oracle("llama").logits(tokens)[-1])
    assert driver.engine.residency("context") == driver.residency(6, 6)
    few = await ask(driver, "context", [9], "second", distribution=3)
    assert len(few.top) == 3
    assert_is(few, oracle("llama").logits([*tokens, 9])[-1])


@pytest.mark.parametrize("length", [1, BLOCK, BLOCK + 1])
async def test_a_context_without_new_tokens_gives_the_same_again_and_shares_its_blocks_rightly(
    length: int, driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    tokens = prompt(length)
    first = await ask(driver, "context", tokens, "first")
    driver.fork("context", "fork", length)
    again = await ask(driver, "context", [], "again")
    forked = await ask(driver, "fork", [], "forked")
    assert [token_id for token_id, _ in again.top[:9]] == [token_id for token_id, _ in first.top[:9]]
    for found in (first, again, forked):
        assert_is(found, oracle("llama").logits(tokens)[-1])
    expected = oracle("llama").greedy(tokens, 6)
    assert await driver.run("context", [], 6, turn_id="go on") == expected
    assert await driver.run("fork", [], 6, turn_id="fork goes on") == expected


async def test_behind_sampled_output_it_is_what_sampling_would_have_seen(
    driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    await driver.run("context", prompt(6), 5)
    expected = oracle("llama").logits(driver.ids["context"])[-1]
    assert_is(await ask(driver, "context", [], "asked"), expected)


async def test_bias_temperature_and_what_is_allowed_shape_it(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    logits = oracle("llama").logits(prompt(6))[-1].clone()
    allowed = (4, 9, 30)
    found = await ask(
        driver,
        "context",
        prompt(6),
        "asked",
        sampling=Sampling(temperature=2.0, logit_bias=((9, 3.0),)),
        allowed_tokens=allowed,
    )
    logits[9] += 3.0
    masked = torch.full_like(logits, -math.inf)
    masked[list(allowed)] = logits[list(allowed)] / 2.0
    expected = torch.log_softmax(masked, dim=-1)
    assert {token_id for token_id, _ in found.top} == set(allowed)
    assert dict(found.top) == pytest.approx({i: float(expected[i]) for i in allowed}, abs=1e-3)
    assert found.entropy == pytest.approx(float(torch.special.entr(expected.exp()).sum()), abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 3.0])
async def test_only_allowed_tokens_are_drawn_and_greedy_takes_the_best(
    temperature: float, driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    allowed = (5, 17, 301)
    driver.begin("free", prompt(9), 8)
    sampling = Sampling(temperature=temperature, seed=1, num_logprobs=20)
    output = await driver.run("context", prompt(6), 8, sampling=sampling, allowed_tokens=allowed)
    assert set(output) <= set(allowed)
    assert all(len(entry.top) == 3 for entry in driver.logprobs("context"))
    if temperature == 0:
        logits = oracle("llama").logits(driver.ids["context"])[5:-1]
        assert output == [allowed[int(row[list(allowed)].argmax())] for row in logits]
    await driver.finish("free")
    assert driver.output_ids("free") == oracle("llama").greedy(prompt(9), 8)


async def test_what_cannot_be_is_refused(driver: Driver) -> None:
    for allowed in ((384,), (3, -1)):
        with pytest.raises(InvalidRequest, match="allowed_tokens must lie between 0 and 383"):
            driver.begin("context", prompt(3), allowed_tokens=allowed)
    with pytest.raises(InvalidRequest, match="at least one token"):
        TurnRequest("turn", (), allowed_tokens=())
    for number in (0, -1, 4097):
        with pytest.raises(InvalidRequest, match="between 1 and 4096"):
            TurnRequest("turn", (), distribution=number)
    assert driver.engine.capacity().num_contexts == 0
