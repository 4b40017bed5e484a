"""Runs a tool's function in the thread that it was given."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

from api.agents.call_context import CallContext
from api.agents.inside import Inside, inside
from api.agents.results import parts_of
from api.inferlet.work_effects import Reporter, Work, WorkCancelled
from api.values import Value


def work_of(call: CallContext, function: Callable[..., Any], arguments: dict[str, Any]) -> Work:
    """A call of a function: what it yields are its parts, as they come; its last output has those that it returns."""

    def run(reporter: Reporter) -> Value:
        inside.set(Inside(call, reporter))
        result = function(**arguments)
        if inspect.iscoroutine(result) or isinstance(result, AsyncIterator):
            return asyncio.run(_on_loop(result, reporter))
        if isinstance(result, Iterator):
            for value in result:
                _put(reporter, value)
            return []
        return parts_of(result)

    return Work(call.call_id, run)


async def _on_loop(result: Any, reporter: Reporter) -> list[dict[str, Any]]:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def cancel() -> None:
        with suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(task.cancel, WorkCancelled)

    reporter.on_cancel(cancel)
    try:
        if isinstance(result, AsyncIterator):
            async for value in result:
                _put(reporter, value)
            return []
        return parts_of(await result)
    except asyncio.CancelledError as error:
        if error.args == (WorkCancelled,):
            raise WorkCancelled from None
        raise


def _put(reporter: Reporter, value: Any) -> None:
    for part in parts_of(value):
        reporter.put("part", part)
