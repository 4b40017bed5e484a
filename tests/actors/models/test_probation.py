"""Suspects on one model actor: one is held at a time, and none waits for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from actors.models.probation import Probation


async def test_one_is_held_at_a_time_in_the_order_in_which_they_came() -> None:
    probation, entered = Probation(), list[str]()

    async def enter(key: str) -> None:
        await probation.enter(key)
        entered.append(key)

    waiting = [asyncio.create_task(enter(key)) for key in "abc"]
    await asyncio.sleep(0.01)
    assert entered == ["a"]
    probation.leave("c")
    await asyncio.sleep(0.01)
    assert entered == ["a"], "one that is not held changes nothing"
    waiting[1].cancel()
    probation.leave("a")
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.gather(*waiting), 30)
    await asyncio.wait_for(waiting[2], 30)
    assert entered == ["a", "c"]


async def test_one_that_is_acquitted_is_told_when_no_suspects_are_left() -> None:
    probation = Probation()
    await probation.enter("a")
    second = asyncio.create_task(probation.enter("b"))
    await asyncio.sleep(0)
    acquitting = asyncio.create_task(probation.acquit("a"))
    await asyncio.wait_for(second, 30)
    assert not acquitting.done()
    probation.leave("b")
    await asyncio.wait_for(acquitting, 30)
    await asyncio.wait_for(probation.acquit("never held"), 30)
