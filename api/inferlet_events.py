"""What an instance has done, in order: its messages, what it printed, and its end.

Every event has a position; positions grow by one. The last event is an end: ``Completed``, ``Failed``, ``Terminated``
or ``Lost``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from api.values import Value, from_json, to_json


@dataclass(frozen=True, slots=True)
class Message:
    """The program sent this."""

    is_end: ClassVar[bool] = False
    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class Stdout:
    """The program printed this."""

    is_end: ClassVar[bool] = False
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Stderr:
    """The program wrote this to its standard error."""

    is_end: ClassVar[bool] = False
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Completed:
    """The program returned this."""

    is_end: ClassVar[bool] = True
    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class Failed:
    """The program failed: its own traceback, or a sentence on the limit that it exceeded."""

    is_end: ClassVar[bool] = True
    position: int
    error: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """Somebody ended it."""

    is_end: ClassVar[bool] = True
    position: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Its process died, and the program had said that it cannot be taken up again."""

    is_end: ClassVar[bool] = True
    position: int


Event: TypeAlias = Message | Stdout | Stderr | Completed | Failed | Terminated | Lost
KINDS: dict[str, type[Event]] = {
    "message": Message,
    "stdout": Stdout,
    "stderr": Stderr,
    "completed": Completed,
    "failed": Failed,
    "terminated": Terminated,
    "lost": Lost,
}


def value_of(event: Event) -> Value:
    """What the event carries: a value, a text, or nothing."""
    match event:
        case Message(_, value) | Completed(_, value):
            return value
        case Stdout(_, text) | Stderr(_, text) | Failed(_, text):
            return text
    return None


def event_view(event: Event) -> dict[str, Any]:
    """The event as JSON: ``{"type", "position"}`` with ``text``, ``bytes`` or ``json``, or with ``error``."""
    kind = next(name for name, kind in KINDS.items() if kind is type(event))
    view: dict[str, Any] = {"type": kind, "position": event.position}
    match event:
        case Message(_, value) | Completed(_, value):
            view |= to_json(value)
        case Stdout(_, text) | Stderr(_, text):
            view["text"] = text
        case Failed(_, error):
            view["error"] = error
    return view


def event_of(view: dict[str, Any]) -> Event:
    """The event that ``event_view`` was given."""
    kind, position = KINDS[view["type"]], view["position"]
    if kind is Message or kind is Completed:
        return kind(position, from_json(view))
    if kind is Stdout or kind is Stderr:
        return kind(position, view["text"])
    return Failed(position, view["error"]) if kind is Failed else kind(position)  # type: ignore[call-arg]
