"""The promises of work queues, through references, over a broker that a test can kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.settings import QueueSettings
from api.errors import TooBusy
from api.names import MessageKey, TopicId
from tests.actors.topics.small_broker import SmallBroker

WORK = TopicId("work", "ada")


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallBroker]:
    async with SmallBroker(tmp_path) as small:
        yield small


async def settle() -> None:
    """Let everything that is ready happen."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_each_item_goes_to_exactly_one_consumer_in_order(small: SmallBroker) -> None:
    done: list[list[int]] = [[] for _ in range(4)]
    all_done = asyncio.Event()

    async def consume(index: int) -> None:
        ref = small.ref()
        while True:
            item = await ref.pull(WORK)
            assert isinstance(item.value, int)
            done[index].append(item.value)
            await ref.ack(item)
            if sum(map(len, done)) == 200:
                all_done.set()

    consumers = [asyncio.create_task(consume(index)) for index in range(4)]
    ref = small.ref()
    pushed = await asyncio.gather(*(ref.push(WORK, index) for index in range(200)))
    assert [answer.position for answer in pushed] == list(range(200))
    await asyncio.wait_for(all_done.wait(), 30)
    assert sorted(item for items in done for item in items) == list(range(200))
    assert all(items == sorted(items) for items in done)
    for consumer in consumers:
        consumer.cancel()


async def test_an_item_that_is_not_acknowledged_in_time_goes_to_another_before_later_ones(small: SmallBroker) -> None:
    first, second = small.ref(), small.ref()
    await first.push(WORK, "a")
    await first.push(WORK, "b")
    late = await first.pull(WORK, lease_s=5)
    small.passed_s += 6
    await small.broker().sweep()
    item = await second.pull(WORK)
    assert (item.value, item.position, item.num_deliveries) == ("a", 0, 2)
    assert await first.ack(late) is False
    assert await second.ack(item) is True
    assert (await second.pull(WORK)).value == "b"


async def test_a_late_acknowledgement_counts_while_nobody_else_has_the_item(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.push(WORK, "a")
    item = await ref.pull(WORK)
    small.passed_s += 61
    await small.broker().sweep()
    assert await ref.ack(item) is True
    assert await ref.ack(item) is True
    with pytest.raises(TimeoutError):
        await ref.pull(WORK, timeout_s=0)


async def test_what_a_silent_process_has_goes_to_another(small: SmallBroker) -> None:
    await small.ref().push(WORK, "a")
    await small.broker().pull("dead-process", "ticket-1", WORK, 0.0, 3600.0)
    pulling = asyncio.create_task(small.ref().pull(WORK))
    await settle()
    small.passed_s += 31
    await small.broker().sweep()
    assert (await pulling).value == "a"


async def test_a_process_that_has_an_item_gives_signs_of_life(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.push(WORK, "a")
    item = await ref.pull(WORK, lease_s=3600)
    await settle()
    small.passed_s += 31
    await small.broker().sweep()
    with pytest.raises(TimeoutError):
        await small.ref().pull(WORK, timeout_s=0)
    assert await ref.ack(item) is True


async def test_an_item_that_is_given_back_takes_its_old_place(small: SmallBroker) -> None:
    ref = small.ref()
    for value in "abc":
        await ref.push(WORK, value)
    item = await ref.pull(WORK)
    await ref.release(item)
    await ref.release(item)
    assert [(await ref.pull(WORK)).value for _ in range(3)] == ["a", "b", "c"]


async def test_a_pull_that_times_out_or_is_cancelled_loses_nothing(small: SmallBroker) -> None:
    ref, got = small.ref(), []
    for index in range(40):
        pulling = asyncio.create_task(ref.pull(WORK))
        for _ in range(index % 15):
            await asyncio.sleep(0)
        pushing = ref.push(WORK, index)
        for _ in range(index % 11):
            await asyncio.sleep(0)
        pulling.cancel()
        try:
            got.append((await pulling).value)
        except asyncio.CancelledError:
            pass
        await pushing
        with pytest.raises(TimeoutError):
            await small.ref().pull(TopicId("empty"), timeout_s=0)
    await settle()
    while len(got) < 40:
        got.append((await small.ref().pull(WORK, timeout_s=5)).value)
    assert sorted(got, key=str) == sorted(range(40), key=str)


async def test_a_pull_that_is_given_up_on_an_empty_queue_takes_nothing(small: SmallBroker) -> None:
    ref = small.ref()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ref.pull(WORK), 0.05)
    await ref.push(WORK, "first")
    await ref.push(WORK, "second")
    assert [(await ref.pull(WORK)).value for _ in range(2)] == ["first", "second"]


async def test_a_pull_that_comes_after_its_own_end_takes_nothing(small: SmallBroker) -> None:
    broker = small.broker()
    await small.ref().push(WORK, "a")
    await broker.release(WORK, "ticket")
    assert await broker.pull("process", "ticket", WORK, 60.0, None) is None
    assert (await small.ref().pull(WORK, timeout_s=0)).value == "a"


async def test_a_pull_that_fails_at_its_caller_leaves_the_item_to_others(
    small: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = small.ref()
    await ref.push(WORK, "a")
    monkeypatch.setattr("actors.topics.ref.decode", lambda data: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await ref.pull(WORK)
    monkeypatch.undo()
    assert (await ref.pull(WORK, timeout_s=0)).value == "a"


async def test_the_same_pull_from_another_process_gets_the_same_item(small: SmallBroker) -> None:
    first, second, key = small.ref(), small.ref(), MessageKey("program", 3)
    await first.push(WORK, "a")
    await first.push(WORK, "b")
    assert (await first.pull(WORK, key=key)).value == "a"
    item = await second.pull(WORK, timeout_s=0, key=key)
    assert (item.value, item.num_deliveries) == ("a", 1)
    assert (await second.pull(WORK, timeout_s=0, key=MessageKey("program", 4))).value == "b"
    assert await second.ack(item)
    with pytest.raises(TimeoutError):
        await second.pull(WORK, timeout_s=0, key=key)


async def test_what_a_program_has_at_its_end_goes_to_others_at_once(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.push(WORK, "a")
    await ref.push(WORK, "b")
    await ref.pull(WORK, key=MessageKey("program", 1))
    await ref.pull(WORK, key=MessageKey("program-2", 1))
    await ref.leave("program")
    assert [(info.num_ready, info.num_held, info.num_waiting) for info in await ref.queues("ada")] == [(1, 1, 0)]
    assert (await ref.pull(WORK, timeout_s=0)).value == "a"


async def test_a_pull_that_is_given_up_in_the_very_step_in_which_it_gets_its_item_loses_nothing(
    small: SmallBroker,
) -> None:
    await small.ref().push(WORK, "a")
    broker = small.broker()
    await broker.pull("process", "ticket-1", WORK, 0.0, None)
    pulling = asyncio.create_task(broker.pull("process", "ticket-2", WORK, 60.0, None))
    await asyncio.sleep(0)
    queue = broker._catalogue.queues[WORK]
    await asyncio.gather(queue.release("ticket-1"), queue.release("ticket-2"))
    assert await pulling is None
    assert (await small.ref().pull(WORK, timeout_s=0)).value == "a"


async def test_a_pull_whose_answer_was_lost_gets_the_same_item_again(small: SmallBroker) -> None:
    await small.ref().push(WORK, "a")
    await small.ref().push(WORK, "b")
    broker = small.broker()
    first = await broker.pull("process", "ticket-1", WORK, 0.0, None)
    again = await broker.pull("process", "ticket-1", WORK, 0.0, None)
    assert first == again
    other = await broker.pull("process", "ticket-2", WORK, 0.0, None)
    assert other is not None
    assert other.position == 1


@pytest.mark.parametrize("limit", [{"max_items": 3}, {"max_bytes": 6}])
async def test_a_full_queue_lets_who_pushes_wait(tmp_path: Path, limit: dict[str, int]) -> None:
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", **limit),)) as small:  # type: ignore[arg-type]
        ref = small.ref()
        pushing = [ref.push(WORK, index) for index in range(10)]
        await settle()
        assert sum(future.done() for future in pushing) == 3
        for index in range(10):
            item = await ref.pull(WORK, timeout_s=5)
            assert item.value == index
            await ref.ack(item)
        assert [pushed.position for pushed in await asyncio.gather(*pushing)] == list(range(10))


async def test_a_full_queue_may_refuse(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", max_items=1, when_full="refuse"),)) as small:
        ref = small.ref()
        await ref.push(WORK, "a")
        with pytest.raises(TooBusy, match="full"):
            await ref.push(WORK, "b")


async def test_a_number_that_was_pushed_before_is_the_same_item(small: SmallBroker) -> None:
    first = await small.ref().push(WORK, "a", MessageKey("instance-1", 7))
    assert (await small.ref().push(WORK, "a", MessageKey("instance-1", 7))) == first
    ref = small.ref()
    await ref.ack(await ref.pull(WORK))
    assert (await ref.push(WORK, "a", MessageKey("instance-1", 7))).position == -1
    with pytest.raises(TimeoutError):
        await ref.pull(WORK, timeout_s=0)


async def test_an_empty_queue_that_nobody_uses_is_forgotten(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.push(WORK, "a")
    item = await ref.pull(WORK)
    small.passed_s += 601
    await small.broker().sweep()
    assert await ref.ack(item)
    small.passed_s += 601
    await small.broker().sweep()
    assert not small.broker()._catalogue.queues
    assert not small.broker()._catalogue.num_owned


@pytest.mark.parametrize("is_durable", [False, True])
async def test_a_queue_that_is_deleted_is_gone_and_another_one_begins(tmp_path: Path, is_durable: bool) -> None:
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", is_durable=is_durable, max_items=3),)) as small:
        ref = small.ref()
        for value in "abc":
            await ref.push(WORK, value)
        held, waiting = await ref.pull(WORK), ref.push(WORK, "d")
        await settle()
        assert [(info.num_ready, info.num_held) for info in await ref.queues("ada")] == [(2, 1)]
        assert await ref.delete_queue(WORK) is True
        assert await ref.ack(held) is False
        assert (await asyncio.wait_for(waiting, 30)).position == 0, "there is room in the next one of this name"
        [info] = await ref.queues("ada")
        assert (info.queue, info.num_ready, info.num_held, info.is_durable) == (WORK, 1, 0, is_durable)
        await small.restart()
        assert len(await ref.queues("ada")) == is_durable
        if is_durable:
            assert (await ref.pull(WORK, timeout_s=5)).value == "d"
            with pytest.raises(TimeoutError):
                await ref.pull(WORK, timeout_s=0)


async def test_who_waits_for_an_item_waits_on_when_the_queue_is_deleted(small: SmallBroker) -> None:
    pulling = asyncio.create_task(small.ref().pull(WORK))
    await settle()
    ref = small.ref()
    [info] = await ref.queues("ada")
    assert (info.num_ready, info.num_held, info.num_waiting) == (0, 0, 1)
    assert await ref.queues("bob") == ()
    await ref.delete_queue(WORK)
    await settle()
    await ref.push(WORK, "later")
    assert (await asyncio.wait_for(pulling, 30)).value == "later"


async def test_deleting_a_durable_queue_leaves_nothing_in_the_journal(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", is_durable=True),)) as small:
        ref = small.ref()
        await asyncio.gather(*(ref.push(WORK, index) for index in range(4)))
        items = [await ref.pull(WORK) for _ in range(3)]
        broker = small.broker()
        meanwhile = [*(ref.ack(item) for item in items), broker.pull("process", "ticket", WORK, 0.0, None)]
        await asyncio.gather(*meanwhile[:2], ref.delete_queue(WORK), *meanwhile[2:], return_exceptions=True)
        await settle()
        await ref.delete_queue(WORK)
        assert await ref.delete_queue(WORK) is False
        assert await small.journal.streams() == ()
        assert not broker._catalogue.num_owned["ada"]
