"""The time of a run."""

from __future__ import annotations

import asyncio

from api.agents.clock import RunClock


async def test_a_lower_limit_counts_what_is_spent_and_a_higher_one_adds_nothing() -> None:
    over = asyncio.Event()
    clock = RunClock(None, over.set)
    clock.go()
    await asyncio.sleep(0.06)
    clock.stand()
    clock.go()
    clock.narrow(3600.0)
    clock.narrow(0.05)
    clock.narrow(7200.0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert over.is_set()
