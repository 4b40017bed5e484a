"""Contexts and turns as their owners see them: what is lost, what is refused, what ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from actors.engine.contract import EVICT_FIRST, Admission, tokens_hash
from api.errors import ContextLost, IdTaken, InvalidRequest, LengthExceeded, TurnRunning, Unavailable
from api.turns import Sampling, Stop
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, TorchDriver, prompt


def admission(base: list[int], tokens: list[int], context_id: str = "context", create: bool = False) -> Admission:
    return Admission(
        "turn", context_id, len(base), tokens_hash(base), tuple(tokens), Sampling(), Stop(max_tokens=1), create=create
    )


async def test_a_context_that_is_not_held_is_lost(driver: Driver) -> None:
    with pytest.raises(ContextLost):
        driver.engine.admit(admission([1, 2], [3]))
    with pytest.raises(ContextLost):
        driver.engine.admit(admission([1, 2], [3], create=True))
    with pytest.raises(ContextLost):
        driver.engine.fork("context", "other", 1, tokens_hash([1]))
    assert driver.engine.capacity().num_contexts == 0


async def test_a_context_with_other_tokens_is_lost_and_stays(driver: Driver) -> None:
    await driver.run("context", [5, 6, 7], 2)
    held = driver.ids["context"]
    for base in ([5, 6, 8], [*held, 9]):
        with pytest.raises(ContextLost):
            driver.engine.admit(admission(base, [3]))
        with pytest.raises(ContextLost):
            driver.engine.fork("context", "other", len(base), tokens_hash(base))
    assert driver.engine.residency("context") == driver.residency(5, 4)
    assert driver.engine.fork("context", "other", 5, tokens_hash(held)) == driver.residency(5, 4)


async def test_the_last_sampled_token_gets_its_kv_with_the_next_turn(driver: Driver) -> None:
    await driver.run("context", prompt(30), 3)
    assert driver.engine.residency("context") == driver.residency(33, 32)
    assert driver.begin("context", prompt(2), 1, turn_id="next") == driver.residency(35, 32)
    await driver.finish("next")


async def test_max_context_counts_kv_so_the_text_may_be_one_longer(driver: Driver) -> None:
    assert len(await driver.run("context", prompt(5), 99, max_context=8)) == 4
    assert driver.finish_of("context").reason == "context"
    assert driver.engine.residency("context") == driver.residency(9, 8)
    with pytest.raises(LengthExceeded, match="exceeds pre-allocated maximum 8"):
        driver.begin("context", [], 1, turn_id="full", max_context=8)
    assert len(await driver.run("exact", prompt(5), 4, max_context=8)) == 4
    assert driver.finish_of("exact").reason == "length"


async def test_the_models_own_limit_holds_too(driver: Driver) -> None:
    with pytest.raises(LengthExceeded, match=f"maximum {driver.max_context}"):
        driver.begin("context", prompt(driver.max_context + 1), 1, max_context=9999)
    assert len(await driver.run("context", prompt(driver.max_context - 3), 99)) == 4
    assert driver.finish_of("context").reason == "context"


async def test_what_cannot_be_is_refused_and_changes_nothing(driver: Driver) -> None:
    refused = [
        admission([], [], create=True),
        admission([], [384], create=True),
        admission([], [-1], create=True),
        dataclasses.replace(admission([], [3], create=True), num_prior_output=1),
        dataclasses.replace(admission([], [3], create=True), num_prior_output=2),
        dataclasses.replace(admission([], [3], create=True), sampling=Sampling(logit_bias=((384, 1.0),))),
    ]
    for request in refused:
        with pytest.raises(InvalidRequest):
            driver.engine.admit(request)
    assert driver.engine.capacity().num_contexts == 0


async def test_one_turn_at_a_time_on_a_context(driver: Driver) -> None:
    driver.begin("context", prompt(3), 4)
    with pytest.raises(TurnRunning):
        driver.engine.admit(dataclasses.replace(admission(prompt(3), [1]), turn_id="other"))
    with pytest.raises(IdTaken):
        driver.engine.admit(dataclasses.replace(admission([], [1], context_id="other", create=True), turn_id="context"))
    driver.engine.drop("context")
    await driver.finish("context")
    assert driver.engine.residency("context") == driver.residency(7, 6)


async def test_cancelling_ends_a_turn_with_the_next_step(torch_driver: TorchDriver) -> None:
    torch_driver.begin("running", prompt(3), 50)
    torch_driver.begin("other", prompt(4), 50)
    await torch_driver.step()
    torch_driver.begin("waiting", prompt(5), 50)
    torch_driver.engine.cancel("running")
    torch_driver.engine.cancel("waiting")
    torch_driver.engine.cancel("unknown")
    outputs = await torch_driver.step()
    assert {output.turn_id: output.finish and output.finish.reason for output in outputs} == {
        "running": "cancelled",
        "waiting": "cancelled",
    }
    assert torch_driver.engine.residency("running") == torch_driver.residency(4, 3)
    await torch_driver.step()
    assert len(torch_driver.output_ids("other")) == 2
    assert await torch_driver.run("running", [], 2, turn_id="on") != []


async def test_a_cancelled_turn_ends_and_its_context_and_others_go_on(
    driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    driver.begin("running", prompt(33), 150)
    driver.begin("other", prompt(4), 50)
    while not driver.output_ids("running"):
        await driver.step()
    driver.engine.cancel("running")
    driver.engine.cancel("unknown")
    driver.begin("waiting", prompt(5), 50)
    driver.engine.cancel("waiting")
    await driver.finish("running", "waiting")
    assert [driver.finish_of(name).reason for name in ("running", "waiting")] == ["cancelled", "cancelled"]
    output = driver.output_ids("running")
    assert 0 < len(output) < 150
    assert output == oracle("llama").greedy(prompt(33), len(output))
    expected = oracle("llama").greedy([*driver.ids["running"], 9], 6)
    assert await driver.run("running", [9], 6, turn_id="on") == expected
    await driver.finish("other")
    assert driver.output_ids("other") == oracle("llama").greedy(prompt(4), 50)


async def test_a_closed_context_ends_its_turn_and_frees_its_blocks(driver: Driver) -> None:
    baseline = driver.num_free_blocks()
    driver.begin("context", prompt(90), 90)
    while not driver.output_ids("context"):
        await driver.step()
    driver.engine.close("context")
    driver.engine.close("unknown")
    assert driver.engine.residency("context") is None
    await driver.finish("context")
    assert driver.finish_of("context").reason == "cancelled"
    await driver.run("temporary", prompt(90), 3, is_temporary=True, eviction_rank=EVICT_FIRST)
    assert driver.engine.residency("temporary") is None
    await driver.until(lambda: driver.num_free_blocks() == baseline)


async def test_closing_a_context_cancels_its_turn(torch_driver: TorchDriver) -> None:
    baseline = torch_driver.num_free_blocks()
    torch_driver.begin("context", prompt(9), 50)
    await torch_driver.step()
    torch_driver.engine.close("context")
    torch_driver.engine.close("unknown")
    assert torch_driver.engine.residency("context") is None
    await torch_driver.step()
    assert torch_driver.finish_of("context").reason == "cancelled"
    assert torch_driver.num_free_blocks() == baseline


async def test_a_temporary_context_goes_with_its_turn(torch_driver: TorchDriver) -> None:
    baseline = torch_driver.num_free_blocks()
    await torch_driver.run("context", prompt(9), 3, is_temporary=True, eviction_rank=EVICT_FIRST)
    assert torch_driver.engine.residency("context") is None
    assert torch_driver.num_free_blocks() == baseline


async def test_forking_twice_is_forking_once(driver: Driver) -> None:
    await driver.run("source", prompt(40), 3)
    first = driver.fork("source", "target", 36)
    assert driver.fork("source", "target", 36) == first == driver.residency(36, 36)
    with pytest.raises(IdTaken):
        driver.fork("source", "target", 35)
    assert driver.counter("forks") == 1
    assert driver.counter("block_copies") == 0


async def test_a_fork_outlives_its_source(driver: Driver) -> None:
    await driver.run("source", prompt(9), 3)
    expected = await driver.run("source", prompt(2), 5, turn_id="again")
    driver.fork("source", "target", 12)
    driver.engine.close("source")
    assert await driver.run("target", prompt(2), 5) == expected


async def test_a_stopped_engine_says_so(torch_driver: TorchDriver) -> None:
    await torch_driver.engine.stop()
    with pytest.raises(Unavailable, match="stopped"):
        await torch_driver.engine.step()
