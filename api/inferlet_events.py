"""What an instance has done, in order: its messages, what it printed, and its end.

Every event has a position; positions grow by one, but for what ``Lagged`` stands for. The last event is an end:
``Completed``, ``Failed``, ``Terminated`` or ``Lost``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias, get_args

from api.values import Value, from_json, to_json


@dataclass(frozen=True, slots=True)
class _Event:
    is_end: ClassVar[bool] = False
    position: int


@dataclass(frozen=True, slots=True)
class Message(_Event):
    """The program sent this."""

    value: Value


@dataclass(frozen=True, slots=True)
class Stdout(_Event):
    """The program printed this."""

    text: str


@dataclass(frozen=True, slots=True)
class Stderr(_Event):
    """The program wrote this to its standard error."""

    text: str


@dataclass(frozen=True, slots=True)
class Lagged(_Event):
    """``missed`` events, the last of them at this position, are no longer kept: the program has continued as new."""

    missed: int


@dataclass(frozen=True, slots=True)
class Completed(_Event):
    """The program returned this."""

    is_end: ClassVar[bool] = True
    value: Value


@dataclass(frozen=True, slots=True)
class Failed(_Event):
    """The program failed: its own traceback, or a sentence on the limit that it exceeded."""

    is_end: ClassVar[bool] = True
    error: str


@dataclass(frozen=True, slots=True)
class Terminated(_Event):
    """Somebody ended it."""

    is_end: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Lost(_Event):
    """Its process died, and the program had said that it cannot run again."""

    is_end: ClassVar[bool] = True


Event: TypeAlias = Message | Stdout | Stderr | Lagged | Completed | Failed | Terminated | Lost
KINDS: Mapping[str, type[Event]] = {kind.__name__.lower(): kind for kind in get_args(Event)}


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
    view: dict[str, Any] = {
        "type": type(event).__name__.lower(),
        **{field.name: getattr(event, field.name) for field in fields(event)},
    }
    return view | to_json(view.pop("value")) if "value" in view else view


def event_of(view: dict[str, Any]) -> Event:
    """The event that ``event_view`` was given."""
    kind = KINDS[view["type"]]
    given: dict[str, Any] = {
        field.name: from_json(view) if field.name == "value" else view[field.name] for field in fields(kind)
    }
    return kind(**given)
