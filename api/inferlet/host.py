"""The host of a running program: what performs every call of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeVar

from api.errors import GreenroomError
from api.inferlet.context_effects import Notice
from api.inferlet.effects import Effect
from api.topics import Cursor
from api.values import Value

Result = TypeVar("Result")


@dataclass(slots=True)
class Place:
    """Where a program is in a topic; one of its tasks reads at a time."""

    cursor: Cursor | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a life of a program begins.

    Attributes:
        notes: of its checkpoints, the oldest first; none at its start.
        lost: what earlier lives logged after the last one, and the program could not repeat; None where it begins with
            repeating what they did.
    """

    notes: tuple[Any, ...] = ()
    lost: tuple[Any, ...] | None = None


class Host(Protocol):
    """Performs a program's effects, once each over all of its lives. Belongs to the program's thread.

    Effects raise the errors of ``api.errors``, and raise them again when they are replayed.

    Attributes:
        places: by topic.
    """

    instance_id: str
    places: dict[str, Place]

    def perform(self, effect: Effect[Result]) -> Result:
        """Do it, and wait for its result on the spot; the program's other tasks wait too."""
        ...

    def begin(self, effect: Effect[Result]) -> Awaitable[Result]:
        """Do it now, and hand over its result when that is awaited. Cancelling what awaits it ends it."""
        ...

    def tell(self, notice: Notice) -> None:
        """Take note of what changes no result. May be called at any time, from any thread."""
        ...

    def checkpoint(self, note: Any) -> bool:
        """Let a later life begin here, with this note after those of earlier checkpoints, instead of with its start.

        False, and nothing else, where this life still repeats an earlier one. Else calls that the program waits for
        are cancelled; it must wait for nothing else, and do from here on what one does that begins with the notes.
        """
        ...

    def begin_from_checkpoint(self) -> Beginning:
        """Where the program begins. To be called before it does anything else."""
        ...

    def continue_as_new(self, state: Value) -> Awaitable[NoReturn]:
        """End this run here, so that nothing counts that the program still does, and begin another with the state."""
        ...

    def unique_id(self) -> str:
        """A name that no other instance and no earlier call has been given, the same in every life."""
        ...


_current: ContextVar[Host] = ContextVar("greenroom-inferlet")


def host() -> Host:
    """The host of the program that is calling.

    Raises:
        GreenroomError: nothing runs this code as an inferlet.
    """
    try:
        return _current.get()
    except LookupError:
        raise GreenroomError("this is only there for an inferlet while it runs: launch the program") from None


def hosted_by(new: Host) -> Callable[[], None]:
    """Make this the host of what runs in the current context from now on; returns how to undo that."""
    token = _current.set(new)
    return lambda: _current.reset(token)
