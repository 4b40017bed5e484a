"""What an answer is made of, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the text, never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the reasoning, never empty; all of it comes before the text and the calls."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The answer's call of this number, from 0, has begun. Its id is the same on every reading."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """A piece of a call's arguments, JSON text, never empty."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call's arguments are complete. A call that the turn's end cuts short has no such event."""

    index: int


AnswerEvent: TypeAlias = TextDelta | ReasoningDelta | CallBegun | ArgumentsDelta | CallEnded
