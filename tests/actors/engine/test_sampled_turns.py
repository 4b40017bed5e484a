"""Sampling in whole turns: seeds, log-probabilities, penalties, stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from api.turns import Sampling, Stop
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, prompt

WARM = Sampling(temperature=1.5, top_p=0.95, presence_penalty=0.3, frequency_penalty=0.2, seed=11)


async def test_a_seed_gives_the_same_alone_in_a_batch_and_taken_up_in_the_middle(driver: Driver) -> None:
    alone = await driver.run("alone", prompt(6), 12, sampling=WARM)
    for number in range(4):
        driver.begin(f"other {number}", prompt(9, seed=number), 20, sampling=Sampling(temperature=1.0, seed=number))
    driver.begin("among others", prompt(6), 12, sampling=WARM)
    driver.begin("taken up", [*prompt(6), *alone[:5]], 12, sampling=WARM, num_prior_output=5)
    await driver.finish("among others", "taken up")
    assert driver.output_ids("among others") == alone
    assert driver.output_ids("taken up") == alone[5:]
    assert await driver.run("another seed", prompt(6), 12, sampling=Sampling(temperature=1.5, seed=12)) != alone


async def test_without_a_seed_turns_differ(driver: Driver) -> None:
    outputs = [await driver.run(f"{n}", prompt(6), 12, sampling=Sampling(temperature=1.5)) for n in range(2)]
    assert outputs[0] != outputs[1]


async def test_log_probabilities_are_those_of_the_model(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    output = await driver.run("context", prompt(6), 5, sampling=Sampling(num_logprobs=3))
    logits = oracle("llama").logits(driver.ids["context"])[5:-1]
    expected = torch.log_softmax(logits, dim=-1)
    entries = driver.logprobs("context")
    assert len(entries) == 5
    for position, entry in enumerate(entries):
        best = torch.topk(expected[position], 3)
        assert entry.chosen == pytest.approx(float(expected[position, output[position]]), abs=1e-3)
        assert [token_id for token_id, _ in entry.top] == best.indices.tolist()
        assert [value for _, value in entry.top] == pytest.approx(best.values.tolist(), abs=1e-3)


async def test_the_repetition_penalty_is_that_of_generate(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    expected = oracle("llama").greedy(prompt(6), 16, repetition_penalty=0.5)
    assert expected != oracle("llama").greedy(prompt(6), 16)
    output = await driver.run("context", prompt(6), 16, sampling=Sampling(repetition_penalty=0.5))
    assert output == expected


async def test_a_stop_text_cuts_the_text_but_not_the_ids(driver: Driver) -> None:
    await driver.run("free", prompt(6), 12)
    text = driver.text("free")
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    await driver.run("stopped", prompt(6), stop=Stop(max_tokens=12, at_eos=False, texts=(stop,)))
    assert driver.text("stopped") == text[: text.index(stop) + len(stop)]
    assert driver.finish_of("stopped").stop == stop
    ids = driver.output_ids("stopped")
    assert ids == driver.output_ids("free")[: len(ids)]


async def test_an_end_of_text_token_ends_the_turn_and_stays_in_the_context(driver: Driver) -> None:
    forced = Sampling(logit_bias=((2, 100.0),))
    assert await driver.run("context", prompt(6), sampling=forced, stop=Stop(max_tokens=9)) == [2]
    assert driver.finish_of("context").reason == "eos"
    assert driver.engine.residency("context") == driver.residency(7, 6)
