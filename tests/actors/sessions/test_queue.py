"""The order of a session's turns."""

import asyncio

import pytest

from actors.sessions.queue import TurnQueue
from api.errors import TooBusy


async def entered(queue: TurnQueue, *names: str) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(queue.enter(name)) for name in names]
    await asyncio.sleep(0)
    return tasks


async def test_turns_enter_one_at_a_time_in_the_order_they_came() -> None:
    queue = TurnQueue(8)
    first, second, third = await entered(queue, "a", "b", "c")
    assert (first.done(), second.done(), third.done()) == (True, False, False)
    queue.leave()
    await asyncio.sleep(0)
    assert (second.done(), third.done()) == (True, False)
    queue.leave()
    assert await third
    queue.leave()
    assert queue.is_idle


async def test_a_full_queue_refuses() -> None:
    queue = TurnQueue(1)
    await entered(queue, "a", "b")
    with pytest.raises(TooBusy):
        await queue.enter("c")


async def test_a_dismissed_turn_leaves_and_the_next_takes_its_place() -> None:
    queue = TurnQueue(8)
    _, second, third = await entered(queue, "a", "b", "c")
    assert queue.dismiss("b")
    assert not queue.dismiss("b")
    assert not queue.dismiss("nobody")
    assert await second is False
    queue.leave()
    assert await third is True


async def test_a_cancelled_waiter_neither_blocks_nor_loses_the_place() -> None:
    queue = TurnQueue(8)
    _, second, third = await entered(queue, "a", "b", "c")
    second.cancel()
    await asyncio.sleep(0)
    queue.leave()
    assert await third is True
    (fourth,) = await entered(queue, "d")
    queue.leave()
    fourth.cancel()
    await asyncio.gather(fourth, return_exceptions=True)
    assert queue.is_idle, "a place that was given to a cancelled waiter is given back"
