"""The decorator that makes a coroutine function a program."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, overload

from api.inferlet.arguments import Args

Function: TypeAlias = Callable[[Args], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Program:
    """A program: what it runs, and whether it runs again after its process has died."""

    function: Function
    is_durable: bool = True

    def __call__(self, args: Args) -> Awaitable[object]:
        """Run it, inside another one."""
        return self.function(args)


@overload
def inferlet(function: Function) -> Program: ...


@overload
def inferlet(*, durable: bool = True) -> Callable[[Function], Program]: ...


def inferlet(function: Function | None = None, *, durable: bool = True) -> Program | Callable[[Function], Program]:
    """Make ``async def main(args: Args)`` the program of its file.

    A durable program runs again from its start when its process has died or was passivated: its calls return what they
    returned before, until it has caught up, and nothing is done twice. It must make the same calls each time, so it
    takes the time from ``now()`` and chance from ``random()``. One that cannot says ``durable=False``.
    """
    if function is not None:
        return Program(function)
    return lambda decorated: Program(decorated, durable)
