"""Scopes: tasks are kept while they run, and end together."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from actors.calls.scope import Scope


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    scope = Scope()
    yield scope
    await scope.close()


async def test_a_task_that_nobody_holds_runs_to_its_end(scope: Scope) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        gc.collect()
        await asyncio.sleep(0)
        ended.set()

    scope.start(work())
    await asyncio.wait_for(ended.wait(), 60)
    await scope.settled()
    assert scope.num_tasks == 0


async def test_a_task_can_be_awaited_for_its_answer_or_its_error(scope: Scope) -> None:
    async def fail() -> None:
        raise ValueError("no")

    assert await scope.start(asyncio.sleep(0, "answer")) == "answer"
    with pytest.raises(ValueError, match="no"):
        await scope.start(fail())


async def test_cancelling_ends_its_tasks_those_of_its_parts_and_what_is_started_later(scope: Scope) -> None:
    part = scope.part()
    tasks = [scope.start(asyncio.sleep(600)), part.start(asyncio.sleep(600)), part.part().start(asyncio.sleep(600))]
    scope.cancel()
    tasks += [scope.start(asyncio.sleep(600)), part.start(asyncio.sleep(600)), scope.part().start(asyncio.sleep(600))]
    await asyncio.wait(tasks, timeout=60)
    assert [task.cancelled() for task in tasks] == [True] * 6


async def test_a_part_ends_without_the_rest(scope: Scope) -> None:
    part = scope.part()
    whole, own = scope.start(asyncio.sleep(600)), part.start(asyncio.sleep(600))
    await part.close()
    assert (own.cancelled(), whole.done()) == (True, False)


async def test_closing_waits_until_what_ends_slowly_has_ended(scope: Scope) -> None:
    steps = []

    async def work() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0)
            steps.append("ended")

    scope.start(work())
    scope.part().part().start(work())
    await asyncio.sleep(0)
    await scope.close()
    assert steps == ["ended", "ended"]


async def test_what_runs_now_is_waited_for_and_its_errors_are_left_to_who_awaits_it(scope: Scope) -> None:
    async def fail() -> None:
        raise ValueError("no")

    failing = scope.start(fail())
    await scope.settled()
    assert isinstance(failing.exception(), ValueError)


async def test_parts_are_forgotten_when_nothing_runs_in_them_and_not_before(scope: Scope) -> None:
    running = scope.part().start(asyncio.sleep(600))
    for _ in range(100):
        await scope.part().start(asyncio.sleep(0))
    await asyncio.sleep(0)
    gc.collect()
    assert len(scope._parts) == 1
    scope.cancel()
    await asyncio.wait((running,), timeout=60)
    assert running.cancelled()
