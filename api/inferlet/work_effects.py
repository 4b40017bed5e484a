"""What a program asks for that has a log of its own, and functions that run beside it; see ``api.inferlet.effects``.

A function that runs beside its program, in a thread, need not do the same each time: what it puts out is recorded, and
a later life of the program is given that instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from api.inferlet.effects import Effect
from api.values import Value

OutputKind = Literal["part", "status", "ask", "memory", "returned", "raised"]


class WorkCancelled(BaseException):
    """The program does not wait for this function any longer. Raised in it, so not an ``Exception``."""


class Reporter(Protocol):
    """What a function that runs beside its program can do. For its own thread."""

    def put(self, kind: OutputKind, value: Value) -> None:
        """Hand something to the program.

        Raises:
            WorkCancelled: nobody waits for it any longer.
            TooLarge: the value has more than 1 MiB, or there were too many.
        """
        ...

    def wait_for_answer(self) -> Value:
        """The program's answer to an "ask" or a "memory".

        Raises:
            WorkCancelled: there will be none.
        """
        ...

    def on_cancel(self, cancel: Callable[[], object]) -> None:
        """Call this, from any thread, when nobody waits for the function any longer."""
        ...


class Work:
    """A function to run beside the program. Its id is unique in the program; what it returns is its last output."""

    def __init__(self, work_id: str, function: Callable[[Reporter], Value]) -> None:
        self.id = work_id
        self.function = function

    def __repr__(self) -> str:
        return f"Work({self.id!r})"


@dataclass(frozen=True, slots=True)
class Output:
    """Something that a function has put out.

    Attributes:
        kind: "returned" and "raised" are its end; the value of the latter is ``[class, sentence]``.
    """

    kind: OutputKind
    value: Value


@dataclass(frozen=True, slots=True)
class NextOutput(Effect[Output]):
    """The output of this index of a function, from 0, which begins it.

    Raises ``WorkerLost`` where the process died that ran the function, unless it ``may_run_again``: then it does, and
    what it puts out before this index is passed over.
    """

    work: Work
    index: int
    may_run_again: bool


@dataclass(frozen=True, slots=True)
class AnswerWork(Effect[None]):
    """What a function has asked for."""

    work_id: str
    value: Value


@dataclass(frozen=True, slots=True)
class Log(Effect[None]):
    """Append to the program's own log; readers see it once it is durable. Nothing is waited for."""

    value: Value


@dataclass(frozen=True, slots=True)
class Shown:
    """Show this to those who read the log now: it follows from what the program was given, and is not kept."""

    value: Value


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A function's output is not read any further."""

    work_id: str
