"""Greedy output equals that of ``transformers``, token for token, whatever else goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.engine.contract import tokens_hash
from actors.engine.torch.copying import CopyLimits
from tests.actors.engine.checkpoints import ARCHITECTURES, Oracle
from tests.actors.engine.driver import BLOCK, Driver, prompt, start_engine

LENGTHS = (1, BLOCK - 1, BLOCK, BLOCK + 1, 17, 40)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_alone_in_a_mixed_batch_and_in_chunks(
    architecture: str, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    expected = {length: oracle(architecture).greedy(prompt(length), 12) for length in LENGTHS}
    engine = await start_engine(checkpoint(architecture), max_batch_tokens=12, max_running=8)
    driver = Driver(engine)
    assert await driver.run("alone", prompt(17), 12) == expected[17]
    for length in LENGTHS:
        driver.begin(f"batch {length}", prompt(length), 12)
    await driver.finish(*(f"batch {length}" for length in LENGTHS))
    assert {length: driver.output_ids(f"batch {length}") for length in LENGTHS} == expected
    await engine.stop()


async def test_with_the_modules_of_transformers_themselves(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), is_lean=False)
    driver = Driver(engine)
    for length in LENGTHS:
        driver.begin(f"batch {length}", prompt(length), 12)
    await driver.finish(*(f"batch {length}" for length in LENGTHS))
    for length in LENGTHS:
        assert driver.output_ids(f"batch {length}") == oracle("llama").greedy(prompt(length), 12)
    await engine.stop()


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(CopyLimits(together=0, alone=range(0)), id="each where it is"),
        pytest.param(CopyLimits(together=0, alone=range(1 << 20)), id="each copied alone"),
        pytest.param(CopyLimits(together=32 << 10, alone=range(24 << 10, 32 << 10)), id="a few at a time"),
    ],
)
async def test_however_little_is_copied_at_a_time(
    architecture: str,
    limits: CopyLimits,
    checkpoint: Callable[[str], Path],
    oracle: Callable[[str], Oracle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.engine.torch.copying.ON_CPU", limits)
    lengths = (*LENGTHS, 18, 37)
    engine = await start_engine(checkpoint(architecture))
    driver = Driver(engine)
    for length in lengths:
        driver.begin(f"batch {length}", prompt(length), 12)
    await driver.finish(*(f"batch {length}" for length in lengths))
    for length in lengths:
        assert driver.output_ids(f"batch {length}") == oracle(architecture).greedy(prompt(length), 12)
    await engine.stop()


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize("length", [2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1])
async def test_after_a_fork_both_branches_go_on(
    architecture: str, length: int, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint(architecture))
    driver = Driver(engine)
    await driver.run("source", prompt(length + 3), 1)
    driver.fork("source", "target", length)
    driver.begin("source", prompt(2, seed=1), 8)
    driver.begin("target", prompt(2, seed=2), 8)
    await driver.finish("source", "target")
    for name in ("source", "target"):
        before = driver.ids[name][:-8]
        assert driver.output_ids(name) == oracle(architecture).greedy(before, 8)
    assert driver.counter("block_copies") == (1 if length % BLOCK else 0)
    await engine.stop()


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
async def test_with_forks_that_read_what_they_share_together(
    architecture: str,
    checkpoint: Callable[[str], Path],
    oracle: Callable[[str], Oracle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.engine.torch.groups._SHARED_TOKENS", BLOCK)
    engine = await start_engine(checkpoint(architecture))
    driver = Driver(engine)
    await driver.run("source", prompt(5 * BLOCK + 2), 1)
    for number in range(4):
        driver.fork("source", f"fork {number}", (5 - number % 2) * BLOCK + number)
        driver.begin(f"fork {number}", prompt(1 + 3 * number, seed=number), 12)
    driver.begin("other", prompt(9), 12)
    await driver.finish("other", *(f"fork {number}" for number in range(4)))
    for name in ("other", *(f"fork {number}" for number in range(4))):
        assert driver.output_ids(name) == oracle(architecture).greedy(driver.ids[name][:-12], 12)
    await engine.stop()


async def test_alone_and_in_a_batch_of_all_lengths(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    lengths = (*LENGTHS, 31, 32, 33, 100, 200)
    assert await driver.run("alone", prompt(17), 12) == oracle("llama").greedy(prompt(17), 12)
    for length in lengths:
        driver.begin(f"batch {length}", prompt(length), 12)
    await driver.finish(*(f"batch {length}" for length in lengths))
    for length in lengths:
        assert driver.output_ids(f"batch {length}") == oracle("llama").greedy(prompt(length), 12)


@pytest.mark.parametrize("length", [7, 31, 32, 33, 64])
async def test_both_branches_of_a_fork_go_on(length: int, driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await driver.run("source", prompt(70), 1)
    driver.fork("source", "target", length)
    driver.begin("source", prompt(2, seed=1), 8, turn_id="goes on")
    driver.begin("target", prompt(2, seed=2), 8)
    await driver.finish("goes on", "target")
    for name, turn_id in (("source", "goes on"), ("target", "target")):
        assert driver.output_ids(turn_id) == oracle("llama").greedy(driver.ids[name][:-8], 8)


async def test_after_a_fork_in_the_middle_of_a_turn(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    expected = oracle("llama").greedy(prompt(60), 60)
    driver.begin("source", prompt(60), 60)
    while len(driver.output_ids("source")) < 5:
        await driver.step()
    num_before = len(driver.output_ids("source"))
    driver.fork("source", "target", len(driver.ids["source"]))
    driver.begin("target", [], 11)
    await driver.finish("source", "target")
    assert driver.output_ids("source") == expected
    assert driver.output_ids("target") == expected[num_before : num_before + 11]


@pytest.mark.parametrize("length", [1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 20, 31, 32, 33, 45])
async def test_after_a_rollback(length: int, driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await driver.run("context", prompt(35), 12)
    driver.rollback("context", length)
    expected = oracle("llama").greedy(driver.ids["context"], 8)
    assert await driver.run("context", [], 8, turn_id="again") == expected


async def test_after_a_rollback_and_another_prompt(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await driver.run("context", prompt(12), 12)
    driver.rollback("context", 9)
    new = prompt(4, seed=9)
    expected = oracle("llama").greedy([*driver.ids["context"], *new], 8)
    assert await driver.run("context", new, 8, turn_id="again") == expected


async def test_after_a_drop_and_after_a_refill(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await driver.run("context", prompt(60), 6)
    driver.engine.drop("context")
    assert driver.engine.residency("context") == driver.residency(66, 0)
    before = [*driver.ids["context"], *prompt(3)]
    assert driver.begin("context", prompt(3), 6, turn_id="dropped").num_resident == 0
    await driver.finish("dropped")
    assert driver.output_ids("dropped") == oracle("llama").greedy(before, 6)
    driver.engine.drop("context")
    driver.engine.refill("context")
    await driver.until(lambda: driver.engine.residency("context") == driver.residency(75, 75))
    before = [*driver.ids["context"], *prompt(3)]
    assert driver.begin("context", prompt(3), 6, turn_id="refilled") == driver.residency(78, 75)
    await driver.finish("refilled")
    assert driver.output_ids("refilled") == oracle("llama").greedy(before, 6)
    assert driver.counter("drops") == 2
    assert driver.counter("refills") == 1


async def test_when_all_tokens_are_sent_again_to_a_context_that_is_there(
    driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    await driver.run("context", prompt(62), 6)
    tokens = [*driver.ids["context"], *prompt(3)]
    driver.ids["context"] = []
    residency = driver.begin("context", tokens, 6, turn_id="again")
    await driver.finish("again")
    assert residency == driver.residency(71, 67)
    assert driver.counter("resident_tokens") == residency.num_resident
    assert driver.output_ids("again") == oracle("llama").greedy(tokens, 6)


async def test_of_a_turn_taken_up_again_in_the_middle(driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    expected = oracle("llama").greedy(prompt(9), 12)
    driver.begin("context", [*prompt(9), *expected[:5]], 12, num_prior_output=5)
    await driver.finish("context")
    assert driver.output_ids("context") == expected[5:]
    assert driver.finish_of("context").reason == "length"


async def test_a_turn_that_its_earlier_output_has_ended_ends_at_once(driver: Driver) -> None:
    driver.begin("context", prompt(9), 3, num_prior_output=3)
    await driver.finish("context")
    assert driver.output_ids("context") == []
    assert driver.finish_of("context").reason == "length"
    assert driver.engine.residency("context") == driver.residency(9, 0)
    assert tokens_hash(driver.ids["context"]) == tokens_hash(prompt(9))
