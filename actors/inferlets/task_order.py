"""Tasks of a program in an order that is a function of the program alone.

asyncio keeps tasks in sets, whose order is that of memory addresses: what ``asyncio.wait``, ``as_completed``,
``all_tasks`` or a ``TaskGroup`` that fails does first would differ between two runs. Tasks and futures of a program's
event loop are numbered, and their numbers are their hashes, so that a set of them has one order. Functions that make a
set of something else, or from an order that is not the program's, are replaced for these loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from functools import wraps
from typing import Any, TypeVar

from typing_extensions import override

Result = TypeVar("Result")


class NumberedFuture(asyncio.Future[Result]):
    """A future with the number of its creation in its loop."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class NumberedTask(asyncio.Task[Result]):
    """The same for a task; one that is not named is named by its number."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Result], *, loop: NumberingLoop, name: object = None, **options: Any
    ) -> None:
        self.number = loop.next_number()  # before the constructor, which puts the task into a set
        super().__init__(coroutine, loop=loop, name=str(name or f"Task-{self.number}"), **options)

    def __hash__(self) -> int:
        return self.number


class NumberingLoop(asyncio.SelectorEventLoop):
    """An event loop that numbers its tasks and futures in the order of their creation; ``num_numbered`` is the last."""

    def __init__(self, *arguments: Any) -> None:
        self.num_numbered = 0
        super().__init__(*arguments)
        self.set_task_factory(_new_task)
        order_sets()

    def next_number(self) -> int:
        """Each is given once."""
        self.num_numbered += 1
        return self.num_numbered

    @override
    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(self.next_number(), self)

    @override
    def set_task_factory(self, factory: Any) -> None:
        """Those of asyncio itself make numbered tasks here too."""
        if factory is None:
            factory = _new_task
        elif factory is getattr(asyncio, "eager_task_factory", self):
            factory = asyncio.create_eager_task_factory(NumberedTask)  # type: ignore[attr-defined]
        super().set_task_factory(factory)


def order_sets() -> None:
    """Replace those functions of asyncio whose order would not be a program's. Idempotent."""
    if asyncio.as_completed is asyncio.tasks.as_completed and not hasattr(asyncio.as_completed, "__wrapped__"):
        asyncio.as_completed = asyncio.tasks.as_completed = _ordered_as_completed(asyncio.as_completed)
        asyncio.all_tasks = asyncio.tasks.all_tasks = _ordered_all_tasks(asyncio.all_tasks)


def _new_task(loop: Any, coroutine: Coroutine[Any, Any, Result], **options: Any) -> asyncio.Task[Result]:
    return NumberedTask(coroutine, loop=loop, **options)


def _ordered_as_completed(original: Callable[..., Any]) -> Any:
    """It makes a set of what it is given, which may be coroutines: their tasks are made before, in the given order."""

    @wraps(original)
    def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Generator[Any, None, None]:
        if _is_numbering() and not (asyncio.isfuture(fs) or asyncio.iscoroutine(fs)):
            fs = [asyncio.ensure_future(awaitable) for awaitable in dict.fromkeys(fs)]
        yield from original(fs, timeout=timeout)

    return as_completed


def _ordered_all_tasks(original: Callable[..., set[Any]]) -> Any:
    """It finds them in a set of the tasks of all loops."""

    @wraps(original)
    def all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[Any]:
        found = original(loop)
        return set(sorted(found, key=hash)) if _is_numbering() else found  # noqa: C414  collisions keep their order

    return all_tasks


def _is_numbering() -> bool:
    try:
        return isinstance(asyncio.get_running_loop(), NumberingLoop)
    except RuntimeError:
        return False
