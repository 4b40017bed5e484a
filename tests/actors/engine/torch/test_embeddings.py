"""Turns that end with the mean of the last hidden states; the oracle is ``transformers``."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from api.errors import Unsupported
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import BLOCK_BYTES, Driver, prompt, start_engine

EXACT = 1e-4
LENGTHS = (1, 2, 5, 33, 120)


def embedding(driver: Driver, turn_id: str) -> tuple[float, ...]:
    found = driver.finish_of(turn_id)
    assert (found.reason, driver.output_ids(turn_id)) == ("embedding", [])
    assert found.embedding is not None
    return struct.unpack(f"<{len(found.embedding) // 4}f", found.embedding)


def begin(driver: Driver, turn_id: str, length: int) -> None:
    driver.begin(turn_id, prompt(length), embedding=True, is_temporary=True)


@pytest.mark.parametrize(
    ("architecture", "is_lean"), [("llama", True), ("llama", False), ("qwen3", True), ("gemma2", True)]
)
async def test_it_is_that_of_transformers_however_the_prompt_is_cut_into_steps(
    architecture: str, is_lean: bool, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    path = checkpoint(architecture)
    driver = Driver(await start_engine(path, max_batch_tokens=16, max_running=8, is_lean=is_lean))
    driver.begin("turn", prompt(7), 60)
    for length in LENGTHS:
        begin(driver, f"of {length}", length)
    await driver.finish("turn", *(f"of {length}" for length in LENGTHS))
    for length in LENGTHS:
        assert embedding(driver, f"of {length}") == pytest.approx(
            oracle(architecture).embedding(prompt(length)), abs=EXACT
        )
    assert driver.output_ids("turn") == oracle(architecture).greedy(prompt(7), 60)
    assert driver.engine.capacity().num_contexts == 1
    await driver.engine.stop()


async def test_a_turn_that_runs_gets_a_token_in_each_step_while_long_texts_are_embedded(
    checkpoint: Callable[[str], Path],
) -> None:
    driver = Driver(
        await start_engine(checkpoint("llama"), max_batch_tokens=16, max_running=8, kv_cache_bytes=200 * BLOCK_BYTES)
    )
    await driver.run("turn", prompt(7), 1)
    driver.begin("turn", [5], 100, turn_id="more")
    await driver.step()
    for number in range(3):
        begin(driver, f"of {number}", 200)
    num_steps = 0
    while not all(driver.has_ended(f"of {number}") for number in range(3)):
        num_steps += 1
        assert "more" in {output.turn_id for output in await driver.step()}
    assert num_steps >= 3 * 200 // 16
    await driver.engine.stop()


async def test_one_that_gives_way_to_others_begins_again(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    driver = Driver(
        await start_engine(checkpoint("llama"), max_batch_tokens=16, max_running=8, kv_cache_bytes=40 * BLOCK_BYTES)
    )
    for number in range(3):
        driver.begin(f"turn {number}", prompt(8, number), 90)
    for number in range(3):
        begin(driver, f"of {number}", 100 + number)
    await driver.finish(*(f"{kind} {number}" for kind in ("turn", "of") for number in range(3)))
    for number in range(3):
        assert embedding(driver, f"of {number}") == pytest.approx(
            oracle("llama").embedding(prompt(100 + number)), abs=EXACT
        )
    await driver.engine.stop()


async def test_what_the_context_holds_already_counts_too(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    driver = Driver(await start_engine(checkpoint("llama")))
    ids = [*prompt(20), *await driver.run("turn", prompt(20), 5), *prompt(3)]
    driver.begin("turn", prompt(3), turn_id="embedded", embedding=True)
    await driver.finish("embedded")
    assert embedding(driver, "embedded") == pytest.approx(oracle("llama").embedding(ids), abs=EXACT)
    begin(driver, "cancelled", 50)
    driver.engine.cancel("cancelled")
    await driver.finish("cancelled")
    assert (driver.finish_of("cancelled").reason, driver.finish_of("cancelled").embedding) == ("cancelled", None)
    await driver.engine.stop()


async def test_a_model_whose_attention_is_its_own_makes_none(checkpoint: Callable[[str], Path]) -> None:
    driver = Driver(await start_engine(checkpoint("bloom")))
    with pytest.raises(Unsupported, match="does not support embedding"):
        begin(driver, "a", 5)
    await driver.engine.stop()
