"""Holes in attention: what later tokens compute is what a dense mask makes of them, and blocks in holes are freed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.engine.contract import EVICT_FIRST, EVICT_LAST, Admission, Hole, tokens_hash
from api.errors import CapacityExhausted, ContextLost, InvalidRequest, TurnRunning
from api.turns import Sampling, Stop
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import BLOCK, BLOCK_BYTES, Driver, TorchDriver, prompt, start_engine

LENGTH = 5 * BLOCK + 1
PLACES = [(1, 3), (BLOCK, 2 * BLOCK), (3, 4 * BLOCK + 1), (0, LENGTH), (0, 2 * BLOCK), (LENGTH, LENGTH + 3)]


async def go_on(driver: Driver, oracle: Oracle, context_id: str, num_tokens: int, turn_id: str, new: int = 2) -> None:
    """A turn whose output must be the oracle's."""
    tokens = prompt(new, seed=7) if new else []
    before = [*driver.ids[context_id], *tokens]
    expected = oracle.greedy_with_holes(before, driver.holes[context_id], num_tokens)
    assert await driver.run(context_id, tokens, num_tokens, turn_id=turn_id) == expected


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2"])
@pytest.mark.parametrize(
    ("start", "end"),
    [(1, 3), (BLOCK, 2 * BLOCK), (3, 4 * BLOCK + 1), (0, LENGTH), (0, 2 * BLOCK), (LENGTH, LENGTH + 3)],
)
async def test_later_tokens_do_not_see_a_hole_and_earlier_ones_did(
    start: int, end: int, architecture: str, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint(architecture))
    driver = Driver(engine)
    await driver.run("context", prompt(LENGTH), 4)
    plain = oracle(architecture).greedy(driver.ids["context"], 8)
    driver.mask("context", start, end)
    await go_on(driver, oracle(architecture), "context", 8, "masked", new=0)
    await go_on(driver, oracle(architecture), "context", 4, "prompted", new=9)
    if architecture == "llama":
        assert driver.output_ids("masked") != plain
    await engine.stop()


async def test_a_hole_frees_the_blocks_that_lie_wholly_in_it(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(6 * BLOCK), 1)
    free = torch_driver.num_free_blocks()
    torch_driver.mask("context", BLOCK - 1, 4 * BLOCK + 1)
    await go_on(torch_driver, oracle("llama"), "context", 3, "masked", new=0)
    assert torch_driver.num_free_blocks() == free + 3 - 1
    assert torch_driver.resident("context") == 6 * BLOCK + 3
    torch_driver.engine.close("context")
    assert torch_driver.num_free_blocks() == torch_driver.engine.capacity().num_blocks


async def test_several_holes_each_count_from_their_own_time(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(LENGTH), 3)
    for number, (start, end) in enumerate([(2, 7), (5, 12), (8, 20), (2, 22)]):
        torch_driver.mask("context", start, end)
        await go_on(torch_driver, oracle("llama"), "context", 3, f"{number}", new=number % 2)


@pytest.mark.parametrize("max_batch_tokens", [64, 7])
async def test_after_a_drop_and_a_refill_the_same_comes_out_and_the_blocks_are_free_again(
    max_batch_tokens: int, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), max_batch_tokens=max_batch_tokens, max_running=4)
    driver = Driver(engine)
    await driver.run("context", prompt(LENGTH), 2)
    driver.mask("context", 2, 4 * BLOCK)
    await go_on(driver, oracle("llama"), "context", 3, "masked")
    driver.mask("context", 4 * BLOCK, 6 * BLOCK)
    await go_on(driver, oracle("llama"), "context", 3, "masked again")
    free = driver.num_free_blocks()
    engine.drop("context")
    await go_on(driver, oracle("llama"), "context", 3, "dropped", new=0)
    engine.drop("context")
    engine.refill("context")
    while driver.resident("context") < len(driver.ids["context"]):
        await driver.step()
    await go_on(driver, oracle("llama"), "context", 3, "refilled", new=0)
    assert free - driver.num_free_blocks() == 2
    await engine.stop()


async def test_after_an_eviction_the_same_comes_out(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=10 * BLOCK_BYTES)
    driver = Driver(engine)
    await driver.run("context", prompt(LENGTH), 2, eviction_rank=EVICT_FIRST)
    driver.mask("context", 2, 3 * BLOCK)
    await go_on(driver, oracle("llama"), "context", 6, "masked")
    for size in (3, 6, 9):
        await driver.run(f"{size}", prompt(size * BLOCK), 1, eviction_rank=EVICT_LAST)
        await go_on(driver, oracle("llama"), "context", 2, f"after {size}")
    assert driver.counter("evictions") > 2
    await engine.stop()


@pytest.mark.parametrize("length", [LENGTH - 2, LENGTH + 4, LENGTH + 6])
async def test_a_fork_has_the_holes_of_its_tokens_and_goes_its_own_way(
    length: int, torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("source", prompt(LENGTH), 4)
    torch_driver.mask("source", 1, 3 * BLOCK)
    await go_on(torch_driver, oracle("llama"), "source", 6, "masked", new=0)
    torch_driver.fork("source", "target", length)
    assert bool(torch_driver.holes["target"]) is (length >= LENGTH + 4)
    await go_on(torch_driver, oracle("llama"), "target", 5, "forked")
    await go_on(torch_driver, oracle("llama"), "source", 5, "source goes on")
    torch_driver.mask("target", 3 * BLOCK, 5 * BLOCK)
    await go_on(torch_driver, oracle("llama"), "target", 5, "target masked")
    await go_on(torch_driver, oracle("llama"), "source", 5, "source goes on again")
    torch_driver.engine.close("source")
    await go_on(torch_driver, oracle("llama"), "target", 5, "target goes on")


async def test_a_shared_prefix_stays_whole_where_one_of_its_contexts_masks_it(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("plain", prompt(LENGTH), 1)
    torch_driver.fork("plain", "masked", LENGTH)
    torch_driver.mask("masked", 0, 4 * BLOCK)
    await go_on(torch_driver, oracle("llama"), "masked", 4, "masked")
    expected = oracle("llama").greedy(torch_driver.ids["plain"], 6)
    assert await torch_driver.run("plain", [], 6, turn_id="plain goes on") == expected


@pytest.mark.parametrize("length", [3, LENGTH, LENGTH + 4, LENGTH + 5])
async def test_a_rollback_behind_a_holes_time_makes_its_tokens_visible_again(
    length: int, torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(LENGTH), 4)
    torch_driver.mask("context", 1, 4 * BLOCK)
    await go_on(torch_driver, oracle("llama"), "context", 6, "masked", new=0)
    torch_driver.rollback("context", length)
    assert bool(torch_driver.holes["context"]) is (length >= LENGTH + 4)
    await go_on(torch_driver, oracle("llama"), "context", 6, "rolled back", new=0)
    torch_driver.engine.check()


async def test_a_distribution_may_be_asked_twice_around_a_hole_without_computing_all_again(
    torch_driver: TorchDriver,
) -> None:
    await torch_driver.run("context", prompt(LENGTH), turn_id="first", distribution=5)
    torch_driver.mask("context", 0, 3 * BLOCK)
    for number in range(2):
        residency = torch_driver.begin("context", [], turn_id=f"again {number}", distribution=5)
        await torch_driver.finish(f"again {number}")
        assert residency == torch_driver.residency(LENGTH, LENGTH - 1)
    first, *again = (torch_driver.finish_of(name).distribution for name in ("first", "again 0", "again 1"))
    assert first is not None
    for found in again:
        assert found is not None
        assert dict(found.top) == pytest.approx(dict(first.top), abs=1e-4)


async def test_holes_and_plain_contexts_are_computed_together(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    expected: dict[str, list[int]] = {}
    for number in range(4):
        name = f"masked {number}"
        await torch_driver.run(name, prompt(9 + 6 * number), 1)
        torch_driver.mask(name, 1, 5 + 4 * number)
        before = [*torch_driver.ids[name], *prompt(3, seed=number)]
        expected[name] = oracle("llama").greedy_with_holes(before, torch_driver.holes[name], 8)
    for number in range(4):
        name = f"plain {number}"
        expected[name] = oracle("llama").greedy(prompt(5 * number + 1), 8)
        torch_driver.begin(name, prompt(5 * number + 1), 8)
        torch_driver.begin(f"masked {number}", prompt(3, seed=number), 8, turn_id=f"masked {number} on")
    await torch_driver.finish(
        *(f"masked {number} on" for number in range(4)), *(f"plain {number}" for number in range(4))
    )
    for number in range(4):
        assert torch_driver.output_ids(f"masked {number} on") == expected[f"masked {number}"]
        assert torch_driver.output_ids(f"plain {number}") == expected[f"plain {number}"]


async def test_an_engine_that_lost_the_context_is_sent_its_tokens_and_holes(
    torch_driver: TorchDriver, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(LENGTH), 3)
    torch_driver.mask("context", 2, 3 * BLOCK + 1)
    await go_on(torch_driver, oracle("llama"), "context", 3, "masked")
    ids, holes = torch_driver.ids["context"], torch_driver.holes["context"]
    expected = oracle("llama").greedy_with_holes(ids, holes, 6)
    engine = await start_engine(checkpoint("llama"))
    other = Driver(engine)
    other.begin("context", ids, 6, holes=holes)
    await other.finish("context")
    assert other.output_ids("context") == expected
    torch_driver.ids["context"], torch_driver.holes["context"] = [], ()
    assert torch_driver.begin("context", ids, 6, turn_id="sent", holes=holes) == torch_driver.residency(
        len(ids), len(ids) - 1
    )
    await torch_driver.finish("sent")
    assert torch_driver.output_ids("sent") == expected
    await engine.stop()


async def test_all_tokens_sent_with_other_holes_are_computed_with_those(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(LENGTH), 3)
    torch_driver.mask("context", 2, 3 * BLOCK + 1)
    await go_on(torch_driver, oracle("llama"), "context", 6, "masked")
    ids = torch_driver.ids["context"]
    with pytest.raises(ContextLost):
        torch_driver.engine.admit(Admission("t", "context", len(ids), tokens_hash(ids), (), Sampling(), Stop(1)))
    for number, holes in enumerate([(), (Hole(LENGTH, 4, 4 * BLOCK),), (Hole(LENGTH, 4, 9), Hole(LENGTH + 2, 0, 12))]):
        torch_driver.ids["context"], torch_driver.holes["context"] = [], ()
        expected = oracle("llama").greedy_with_holes(ids, holes, 5)
        torch_driver.begin("context", ids, 5, turn_id=f"{number}", holes=holes)
        torch_driver.holes["context"] = holes
        await torch_driver.finish(f"{number}")
        assert torch_driver.output_ids(f"{number}") == expected


async def test_making_a_hole_twice_is_making_it_once_and_a_longer_context_is_cut_back(
    torch_driver: TorchDriver, oracle: Callable[[str], Oracle]
) -> None:
    await torch_driver.run("context", prompt(LENGTH), 6)
    ids = torch_driver.ids["context"] = torch_driver.ids["context"][: LENGTH + 3]
    for _ in range(2):
        torch_driver.engine.mask("context", 1, 9, len(ids), tokens_hash(ids))
    torch_driver.holes["context"] = (Hole(len(ids), 1, 9),)
    assert torch_driver.engine.residency("context") == torch_driver.residency(LENGTH + 3, LENGTH + 3)
    await go_on(torch_driver, oracle("llama"), "context", 4, "masked", new=0)


async def test_a_hole_that_cannot_be_is_refused_and_changes_nothing(torch_driver: TorchDriver) -> None:
    await torch_driver.run("context", prompt(6), 2)
    for start, end in [(-1, 2), (2, 2), (3, 2), (0, 9)]:
        with pytest.raises(InvalidRequest, match="does not lie within 8 tokens"):
            torch_driver.mask("context", start, end)
    with pytest.raises(ContextLost):
        torch_driver.engine.mask("unknown", 0, 1, 8, tokens_hash(torch_driver.ids["context"]))
    with pytest.raises(ContextLost):
        torch_driver.engine.mask("context", 0, 1, 8, tokens_hash(prompt(8)))
    with pytest.raises(InvalidRequest, match="tokens before it"):
        torch_driver.begin("other", prompt(3), holes=(Hole(4, 0, 1),))
    with pytest.raises(InvalidRequest, match="all tokens only"):
        torch_driver.begin("context", prompt(3), turn_id="t", holes=(Hole(2, 0, 1),))
    torch_driver.begin("context", [], 9, turn_id="running")
    with pytest.raises(TurnRunning):
        torch_driver.mask("context", 0, 1)
    await torch_driver.finish("running")


async def slide(driver: Driver, num_tokens: int, stride: int, sink: int, window: int) -> int:
    """Generate with a sink and a sliding window; the most blocks held at a time, at the ends of turns."""
    num_blocks, most = driver.engine.capacity().num_blocks, 0
    while len(driver.ids["context"]) < num_tokens:
        length = len(driver.ids["context"])
        if length - window > sink:
            driver.mask("context", sink, length - window)
        await driver.run("context", [], stride, turn_id=f"at {length}")
        most = max(most, num_blocks - driver.num_free_blocks())
    return most


async def test_a_sink_and_a_sliding_window_take_constant_memory_in_a_cache_that_is_much_smaller(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=16 * BLOCK_BYTES)
    driver = Driver(engine)
    await driver.run("context", prompt(5 * BLOCK), 1)
    most = await slide(driver, 240, 5, sink=BLOCK, window=5 * BLOCK)
    assert most <= 1 + 5 + 1 + 2 + 1
    holes = driver.holes["context"]
    logits = oracle("llama").logits(driver.ids["context"], holes)
    assert logits[5 * BLOCK - 1 : -1].argmax(dim=-1).tolist() == driver.ids["context"][5 * BLOCK :]
    engine.drop("context")
    await go_on(driver, oracle("llama"), "context", 4, "dropped", new=0)
    with pytest.raises(CapacityExhausted, match="attention cache is full"):
        driver.begin("plain", prompt(16 * BLOCK + 1))
    await engine.stop()


@pytest.mark.slow
async def test_four_thousand_tokens_take_no_more_memory_than_the_first_two_hundred(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    engine = await start_engine(checkpoint("llama with many positions"), kv_cache_bytes=40 * BLOCK_BYTES)
    driver = Driver(engine)
    await driver.run("context", prompt(64), 1)
    most = [await slide(driver, num_tokens, 16, sink=4, window=60) for num_tokens in (200, 4065)]
    assert most[1] <= most[0] <= 1 + (60 + 2 * 16) // BLOCK + 2
    logits = oracle("llama with many positions").logits(driver.ids["context"], driver.holes["context"])
    assert logits[63:-1].argmax(dim=-1).tolist() == driver.ids["context"][64:]
    await engine.stop()


@pytest.mark.parametrize("seed", range(3))
async def test_any_order_of_calls_under_pressure_computes_what_a_dense_mask_computes(
    seed: int, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    chance = random.Random(seed)
    engine = await start_engine(checkpoint("llama"), kv_cache_bytes=16 * BLOCK_BYTES, max_batch_tokens=9, max_running=3)
    driver = Driver(engine)
    expected: dict[str, list[int]] = {}
    for number in range(70):
        name, turn_id = f"context {chance.randrange(4)}", f"turn {number}"
        length = len(driver.ids.get(name, ()))
        if not driver.is_running(name):
            action = chance.choice(["turn", "turn", "turn", "mask", "mask", "drop", "refill", "rollback", "fork"])
            if action == "turn" and length < 40:
                tokens = prompt(chance.randrange(1, 12), seed=number)
                before = [*driver.ids.get(name, ()), *tokens]
                expected[turn_id] = oracle("llama").greedy_with_holes(before, driver.holes.get(name, ()), 4)
                driver.begin(name, tokens, 4, turn_id=turn_id)
            elif action == "mask" and length > 1:
                end = chance.randrange(1, length + 1)
                driver.mask(name, chance.randrange(0, end), end)
            elif action == "fork" and length:
                target = f"context {chance.randrange(4)}"
                if not driver.is_running(target):
                    engine.close(target)
                    if target != name:
                        driver.fork(name, target, chance.randrange(1, length + 1))
                    else:
                        driver.ids.pop(name), driver.holes.pop(name, None)
            elif action == "rollback" and length:
                driver.rollback(name, chance.randrange(1, length + 1))
            elif action == "drop":
                engine.drop(name)
            elif action == "refill":
                engine.refill(name)
        engine.check()
        if chance.random() < 0.7 and any(not driver.has_ended(turn) for turn in expected):
            await driver.step()
    await driver.finish(*expected)
    assert {turn_id: driver.output_ids(turn_id) for turn_id in expected} == expected
    await engine.stop()
