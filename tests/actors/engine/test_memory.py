"""What happens when the attention cache is full: eviction by rank, then by use; preemption; nothing leaks."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.engine.contract import EVICT_FIRST, EVICT_LAST, EVICT_NEXT
from api.errors import CapacityExhausted
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import BLOCK, BLOCK_BYTES, Driver, TorchDriver, prompt, start_engine


async def test_evicted_contexts_are_computed_again(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=12 * BLOCK_BYTES)
    driver = Driver(engine)
    for number in range(6):
        await driver.run(f"context {number}", prompt(10, seed=number), 6)
    assert driver.counter("evictions") > 0
    assert driver.counter("evicted_tokens") >= driver.counter("evictions")
    for number in range(6):
        before = [*driver.ids[f"context {number}"], *prompt(3)]
        output = await driver.run(f"context {number}", prompt(3), 6, turn_id="again")
        assert output == oracle("llama").greedy(before, 6)
    await engine.stop()


async def test_low_ranks_go_first_then_what_was_used_longest_ago(checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=16 * BLOCK_BYTES)
    driver = Driver(engine)
    ranks = {"old": EVICT_LAST, "next": EVICT_NEXT, "new": EVICT_LAST, "first": EVICT_FIRST}
    for name, rank in ranks.items():
        await driver.run(name, prompt(4 * BLOCK), 1, eviction_rank=rank)
    for number, victim in enumerate(["first", "next", "old", "new"]):
        assert driver.resident(victim) > 0
        await driver.run(f"{number}", prompt(4 * BLOCK), 1, eviction_rank=EVICT_LAST)
        assert driver.resident(victim) == 0
    await engine.stop()


async def test_eviction_takes_the_end_of_a_context_and_no_more_than_is_needed(
    checkpoint: Callable[[str], Path],
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=8 * BLOCK_BYTES)
    driver = Driver(engine)
    await driver.run("victim", prompt(6 * BLOCK), 1)
    await driver.run("other", prompt(3 * BLOCK), 1)
    assert driver.resident("victim") == 5 * BLOCK
    await engine.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_turns_of_several_owners_in_little_memory_all_end(
    seed: int, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    draw = random.Random(seed)
    engine = await start_engine(
        checkpoint("llama"), max_batch_tokens=32, max_running=4, owner_share=0.5, kv_cache_bytes=10 * BLOCK_BYTES
    )
    driver = Driver(engine)
    turns = {
        f"{number}": (draw.choice("aaaabc"), draw.randrange(1, 5 * BLOCK), draw.randrange(1, 20))
        for number in range(16)
    }
    for number, (name, (owner, num_prompt, num_tokens)) in enumerate(turns.items()):
        driver.begin(name, prompt(num_prompt, seed=number), num_tokens, owner=owner)
        for _ in range(draw.randrange(4)):
            await driver.step()
    await driver.finish(*turns)
    for number, (name, (_, num_prompt, num_tokens)) in enumerate(turns.items()):
        assert driver.output_ids(name) == oracle("llama").greedy(prompt(num_prompt, seed=number), num_tokens)
    await engine.stop()


async def test_running_turns_give_way_to_older_ones_and_all_end(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=10 * BLOCK_BYTES)
    driver = Driver(engine)
    names = [f"context {number}" for number in range(5)]
    for number, name in enumerate(names):
        driver.begin(name, prompt(8, seed=number), 24)
    await driver.finish(*names)
    for number, name in enumerate(names):
        assert driver.output_ids(name) == oracle("llama").greedy(prompt(8, seed=number), 24)
    assert driver.counter("preemptions") > 0
    await engine.stop()


async def test_a_context_larger_than_the_cache_is_refused_and_one_that_outgrows_it_ends(
    checkpoint: Callable[[str], Path],
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=4 * BLOCK_BYTES)
    driver = Driver(engine)
    with pytest.raises(CapacityExhausted, match="attention cache is full"):
        driver.begin("large", prompt(4 * BLOCK + 1), 1)
    assert engine.residency("large") is None
    assert len(await driver.run("growing", prompt(2 * BLOCK), 99)) == 2 * BLOCK + 1
    assert driver.finish_of("growing").reason == "context"
    await engine.stop()


async def test_nothing_leaks_over_a_thousand_cycles(torch_driver: TorchDriver) -> None:
    baseline = torch_driver.num_free_blocks()
    engine = torch_driver.engine
    await torch_driver.run("source", prompt(11), 2)
    held = baseline - torch_driver.num_free_blocks()
    for cycle in range(1000):
        torch_driver.fork("source", "fork", 1 + cycle % 12)
        if cycle % 50 == 0:
            await torch_driver.run("fork", prompt(2, seed=cycle), 2, turn_id=f"turn {cycle}")
        engine.close("fork")
        assert torch_driver.num_free_blocks() == baseline - held
    engine.close("source")
    engine.check()
    assert torch_driver.num_free_blocks() == baseline
    assert engine.capacity().num_contexts == 0


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_calls_under_pressure_keeps_the_invariants_and_the_tokens(
    seed: int, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    chance = random.Random(seed)
    engine = await start_engine(
        checkpoint("llama"), kv_cache_bytes=14 * BLOCK_BYTES, max_batch_tokens=10, max_running=4
    )
    driver = Driver(engine)
    expected: dict[str, list[int]] = {}
    for number in range(60):
        name = f"context {chance.randrange(6)}"
        turn_id = f"turn {number}"
        if not driver.is_running(name):
            action = chance.choice(["turn", "turn", "turn", "drop", "refill", "rollback", "fork", "close"])
            if action == "turn" and len(driver.ids.get(name, ())) < 30:
                tokens = prompt(chance.randrange(1, 12), seed=number)
                expected[turn_id] = oracle("llama").greedy([*driver.ids.get(name, ()), *tokens], 6)
                driver.begin(name, tokens, 6, turn_id=turn_id)
            elif action == "fork" and driver.ids.get(name):
                driver.fork(name, f"fork {number}", chance.randrange(1, len(driver.ids[name]) + 1))
            elif action == "rollback" and driver.ids.get(name):
                driver.rollback(name, chance.randrange(1, len(driver.ids[name]) + 1))
            elif action == "close":
                engine.close(name)
                driver.ids.pop(name, None)
            elif action == "drop":
                engine.drop(name)
            elif action == "refill":
                engine.refill(name)
        if chance.random() < 0.7 and any(not driver.has_ended(turn) for turn in expected):
            await driver.step()
    await driver.finish(*expected)
    assert {turn_id: driver.output_ids(turn_id) for turn_id in expected} == expected
    await engine.stop()


async def test_claimed_is_what_is_to_be_kept_and_what_is_in_use_and_shared_blocks_count_once(
    checkpoint: Callable[[str], Path],
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=32 * BLOCK_BYTES)
    driver = Driver(engine)

    def in_use() -> tuple[int, int]:
        capacity = engine.capacity()
        return capacity.num_claimed_blocks, capacity.num_blocks - capacity.num_free_blocks

    await driver.run("idle", prompt(4 * BLOCK), 1, eviction_rank=EVICT_NEXT)
    assert in_use() == (0, 4)
    await driver.run("kept", prompt(3 * BLOCK, seed=1), 1, eviction_rank=EVICT_LAST)
    assert in_use() == (3, 7)
    driver.fork("kept", "branch", 3 * BLOCK)
    assert in_use() == (3, 7)
    driver.begin("idle", prompt(2), 4, eviction_rank=EVICT_NEXT)
    await driver.step()
    assert in_use()[0] == 3 + 5
    await engine.stop()
