"""Who gets on in a step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.engine.contract import tokens_hash
from actors.engine.torch.runner import RowResult
from api.errors import CapacityExhausted, TooBusy
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import BLOCK, BLOCK_BYTES, Driver, TorchDriver, prompt, start_engine


async def test_a_long_prompt_does_not_stall_the_decoding_of_others(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=16, max_running=8)
    driver = Driver(engine)
    driver.begin("early", prompt(3), 40)
    await driver.step()
    driver.begin("long", prompt(160), 2)
    while not driver.output_ids("long"):
        num_before = len(driver.output_ids("early"))
        await driver.step()
        assert len(driver.output_ids("early")) == num_before + 1
    assert len(driver.output_ids("early")) > 10
    await engine.stop()


async def test_a_short_prompt_does_not_wait_for_a_long_one(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=16, max_running=8)
    driver = Driver(engine)
    driver.begin("long", prompt(160), 2)
    await driver.step()
    driver.begin("short", prompt(6), 4)
    await driver.step()
    await driver.step()
    assert driver.output_ids("short")
    assert not driver.output_ids("long")
    await engine.stop()


async def test_other_coroutines_are_served_while_a_step_is_computed(
    torch_driver: TorchDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = torch_driver.engine._runner
    compute, may_compute = runner.run, threading.Event()

    def run(*arguments: Any) -> list[RowResult]:
        assert may_compute.wait(timeout=30)
        return compute(*arguments)

    monkeypatch.setattr(runner, "run", run)
    torch_driver.begin("context", prompt(3), 1)
    step = asyncio.create_task(torch_driver.step())
    await asyncio.sleep(0)
    torch_driver.begin("another", prompt(3), 1)
    torch_driver.engine.fork("context", "fork", 2, tokens_hash(prompt(3)[:2]))
    torch_driver.engine.check()
    may_compute.set()
    await step
    await torch_driver.finish("context", "another")


async def test_many_turns_share_a_step(torch_driver: TorchDriver) -> None:
    for number in range(8):
        torch_driver.begin(f"{number}", prompt(4, seed=number), 4)
    steps = torch_driver.counter("steps")
    await torch_driver.finish(*(f"{number}" for number in range(8)))
    assert torch_driver.counter("steps") - steps == 4


async def test_refills_wait_for_every_turn_and_do_not_hold_them_up(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=8, max_running=4)
    driver = Driver(engine)
    await driver.run("dropped", prompt(20), 1)
    engine.drop("dropped")
    engine.refill("dropped")
    driver.begin("turn", prompt(30), 6)
    while not driver.output_ids("turn"):
        assert driver.resident("dropped") == 0
        await driver.step()
    await driver.finish("turn")
    assert driver.resident("dropped") == 21
    await engine.stop()


async def test_a_refill_ends_when_the_context_is_dropped_or_used(torch_driver: TorchDriver) -> None:
    await torch_driver.run("context", prompt(20), 1)
    torch_driver.engine.drop("context")
    torch_driver.engine.refill("context")
    torch_driver.engine.drop("context")
    await torch_driver.run("other", prompt(2), 2)
    assert torch_driver.resident("context") == 0


async def test_the_waiting_queue_is_bounded(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_running=1, max_waiting=2)
    driver = Driver(engine)
    for number in range(2):
        driver.begin(f"{number}", prompt(2), 2)
    with pytest.raises(CapacityExhausted):
        driver.begin("one too many", prompt(2), 2)
    assert engine.residency("one too many") is None
    await driver.step()
    driver.begin("later", prompt(2), 2)
    await driver.finish("0", "1", "later")
    await engine.stop()


async def test_another_owners_turn_does_not_wait_for_all_those_of_one(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    blocks = 400 * BLOCK_BYTES
    engine = await start_engine(
        checkpoint("llama"), max_batch_tokens=16, max_running=4, owner_share=0.25, kv_cache_bytes=blocks
    )
    driver = Driver(engine)
    many = [f"{number}" for number in range(16)]
    for number, name in enumerate(many):
        driver.begin(name, prompt(20, seed=number), 24, owner="ada")
    while sum(len(driver.output_ids(name)) > 0 for name in many) < 4:
        await driver.step()
    driver.begin("other", prompt(4), 6, owner="grace")
    await driver.step()
    assert len(driver.output_ids("other")) == 1
    driver.begin("long", prompt(30), 6, owner="carol")
    while not driver.output_ids("long"):
        steps = driver.counter("steps")
        await driver.step()
        assert driver.counter("steps") < steps + 2
    assert sum(map(driver.has_ended, many)) < 8
    await driver.finish("other", "long", *many)
    for number, name in enumerate(many):
        assert driver.output_ids(name) == oracle("llama").greedy(prompt(20, seed=number), 24)
    assert driver.output_ids("other") == oracle("llama").greedy(prompt(4), 6)
    await engine.stop()


async def test_where_more_run_than_a_step_takes_they_get_on_alike(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=16, max_running=4, owner_share=0.5)
    driver = Driver(engine)
    for name in "abcd":
        driver.begin(name, prompt(2), 60, owner="ada")
    while not all(driver.output_ids(name) for name in "abcd"):
        await driver.step()
    before = {name: len(driver.output_ids(name)) for name in "abcd"}
    for name in "xy":
        driver.begin(name, prompt(2), 20, owner="grace")
    await driver.finish("x", "y")
    got = [len(driver.output_ids(name)) - before[name] for name in "abcd"]
    assert max(got) - min(got) <= 1
    assert min(got) >= 9  # half of what grace's two had
    await engine.stop()


async def test_beside_others_an_owner_with_many_turns_has_little_of_a_step_and_all_of_them_get_on(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    """A step's length is what others' first tokens wait for; alone, an owner has all of it."""
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=256, max_running=64, owner_share=0.25)
    driver = Driver(engine)
    many = [f"{number}" for number in range(24)]
    for number, name in enumerate(many[:12]):
        driver.begin(name, prompt(2, seed=number), 40, owner="ada")

    async def tokens_of_a_step() -> int:
        before = sum(len(driver.output_ids(name)) for name in driver.outputs if name in many)
        await driver.step()
        return sum(len(driver.output_ids(name)) for name in driver.outputs if name in many) - before

    while not all(driver.output_ids(name) for name in many[:12]):
        await driver.step()
    assert await tokens_of_a_step() == 12
    for number, name in enumerate(many[12:], 12):
        driver.begin(name, prompt(30, seed=number), 40, owner="ada")
    driver.begin("other", prompt(4), 40, owner="grace")
    await driver.step()
    while not driver.has_ended("other"):
        assert await tokens_of_a_step() <= 8
    await driver.finish(*many)
    for number, name in enumerate(many):
        assert driver.output_ids(name) == oracle("llama").greedy(prompt(2 if number < 12 else 30, seed=number), 40)
    await engine.stop()


async def test_an_owner_with_many_turns_leaves_every_second_step_to_the_first_tokens_of_others(
    checkpoint: Callable[[str], Path],
) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=256, max_running=64, owner_share=0.25)
    driver = Driver(engine)
    many = [f"{number}" for number in range(6)]
    for number, name in enumerate(many):
        driver.begin(name, prompt(2, seed=number), 40, owner="ada")
    while not all(driver.output_ids(name) for name in many):
        await driver.step()

    async def tokens_of_a_step() -> int:
        before = sum(len(driver.output_ids(name)) for name in many)
        await driver.step()
        return sum(len(driver.output_ids(name)) for name in many) - before

    driver.begin("grace's", prompt(4), 40, owner="grace")
    assert await tokens_of_a_step() == 0
    assert driver.output_ids("grace's")
    for owner in ("carol", "joan", "mary", "ruth"):
        driver.begin(f"{owner}'s", prompt(4), 40, owner=owner)
        assert (await tokens_of_a_step() > 0) == (owner in ("carol", "mary"))
        assert driver.output_ids(f"{owner}'s")
    await driver.finish(*driver.outputs)
    await engine.stop()


async def test_one_owner_has_its_share_of_the_waiting_queue(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), max_running=1, max_waiting=8, owner_share=0.25)
    driver = Driver(engine)
    for number in range(2):
        driver.begin(f"{number}", prompt(2), 2, owner="ada")
    with pytest.raises(TooBusy, match="2 of your turns"):
        driver.begin("one too many", prompt(2), 2, owner="ada")
    driver.begin("other", prompt(2), 2, owner="grace")
    await driver.finish("0", "1", "other")
    await engine.stop()


async def test_capacity_tells_the_load(torch_driver: TorchDriver) -> None:
    torch_driver.begin("context", prompt(2 * BLOCK), 4)
    before = torch_driver.engine.capacity()
    await torch_driver.step()
    after = torch_driver.engine.capacity()
    assert (before.num_waiting, before.num_running) == (1, 0)
    assert (after.num_waiting, after.num_running) == (0, 1)
    assert after.num_free_blocks == before.num_free_blocks - 2
    assert after.counters["prompt_tokens"] == 2 * BLOCK
    assert after.counters["output_tokens"] == 1
    await torch_driver.finish("context")
    residency = torch_driver.begin("context", prompt(2), 1, turn_id="again")
    assert residency.num_resident == torch_driver.engine.capacity().counters["resident_tokens"] == 2 * BLOCK + 3
