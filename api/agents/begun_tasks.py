"""The tasks that a function of an author begins: none outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any

NUM_ROUNDS, ROUND_S = 3, 1.0
"""How often they are cancelled, and seconds after each time."""


class NotEnded(BaseException):
    """A task goes on whatever cancels it: the process must end. Not an ``Exception``, so that the run cannot go on."""


class BegunTasks:
    """Those of one function, and of what it has begun itself."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def begin(self, coroutine: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
        """Run the function in this context, which is its own."""
        context.run(_begun.set, self)
        loop = asyncio.get_running_loop()
        if not isinstance(loop.get_task_factory(), _Factory):
            loop.set_task_factory(_Factory(loop.get_task_factory()))
        return loop.create_task(coroutine, context=context)

    def add(self, task: asyncio.Task[Any]) -> None:
        """It has begun one."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def end(self) -> None:
        """Cancel those that run, until they have ended.

        Raises:
            NotEnded: one does not.
        """
        for _ in range(NUM_ROUNDS):
            alive = [task for task in self._tasks if not task.done()]
            if not alive:
                return
            for task in alive:
                task.cancel()
            await asyncio.wait(alive, timeout=ROUND_S)
        if not all(task.done() for task in self._tasks):
            raise NotEnded(f"the agent's function did not end in {NUM_ROUNDS * ROUND_S:g} s after it was cancelled")


_begun: ContextVar[BegunTasks] = ContextVar("greenroom-begun-tasks")


class _Factory:
    """Makes tasks as another factory does, and notes in whose context that is."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def __call__(self, loop: Any, coroutine: Any, **options: Any) -> Any:
        task = self._factory(loop, coroutine, **options)
        context: Context | None = options.get("context")
        owner = _begun.get(None) if context is None else context.get(_begun)
        if owner is not None:
            owner.add(task)
        return task
