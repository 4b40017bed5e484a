"""What a program can ask of its surroundings: each effect is one call, whose result is kept so that it can be replayed.

An effect's type says what its result is. Two effects are the same call when their fields are equal. Those that concern
models and contexts are in ``api.inferlet.context_effects``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from api.topics import Cursor, TopicEvent
from api.values import Value

Result = TypeVar("Result", covariant=True)


class Effect(Generic[Result]):
    """One call to the outside."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Send(Effect[None]):
    """A message to the attached clients; its result is that there is room for the next one."""

    value: Value


@dataclass(frozen=True, slots=True)
class Received:
    """A message from a client. ``position`` counts those that this instance was sent."""

    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class Receive(Effect[Received | None]):
    """The next message from a client; None where none came within ``timeout_s``."""

    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Until(Effect[None]):
    """The time ``at``, in seconds since the epoch, has come.

    Unlike a timer it goes on while no process runs the program, which takes none meanwhile if it only waits for its
    clients besides.
    """

    at: float


@dataclass(frozen=True, slots=True)
class Now(Effect[float]):
    """The time, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Random(Effect[float]):
    """A random number in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A topic or a queue took a message."""

    position: int
    num_subscribers: int = 0


@dataclass(frozen=True, slots=True)
class Broadcast(Effect[Accepted]):
    """A message to a topic."""

    topic: str
    value: Value


@dataclass(frozen=True, slots=True)
class BeginTopic(Effect[Cursor]):
    """A place in a topic: before the oldest message that it retains, or (no replay) before the next one."""

    topic: str
    replay: bool


@dataclass(frozen=True, slots=True)
class NextTopicEvent(Effect[TopicEvent | None]):
    """What comes in a topic after a place; None where nothing came within ``timeout_s``."""

    topic: str
    after: Cursor
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Push(Effect[Accepted]):
    """An item to a queue."""

    queue: str
    value: Value


@dataclass(frozen=True, slots=True)
class Pulled:
    """An item of a queue, and the receipt to acknowledge it with."""

    queue: str
    position: int
    value: Value
    receipt: str
    num_deliveries: int


@dataclass(frozen=True, slots=True)
class Pull(Effect[Pulled | None]):
    """The oldest item of a queue that no consumer has; None where none came within ``timeout_s``."""

    queue: str
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Acknowledge(Effect[bool]):
    """An item of a queue is done; False where it had gone to another."""

    item: Pulled


@dataclass(frozen=True, slots=True)
class Release(Effect[None]):
    """Give an item back to its queue."""

    item: Pulled


@dataclass(frozen=True, slots=True)
class Launch(Effect[str]):
    """Start a child; its id."""

    program: str
    arguments: tuple[str, ...]
    name: str | None


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """What a child did: ``kind`` is the name of its event's class."""

    kind: str
    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class NextChildEvent(Effect[ChildEvent | None]):
    """A child's first message or end after a position; None where none came within ``timeout_s``."""

    child_id: str
    after: int
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class SendToChild(Effect[None]):
    """A message to a child."""

    child_id: str
    value: Value


@dataclass(frozen=True, slots=True)
class TerminateChild(Effect[None]):
    """End a child."""

    child_id: str


@dataclass(frozen=True, slots=True)
class StoreGet(Effect[Value]):
    """A value of the owner's store; None where there is none."""

    key: str


@dataclass(frozen=True, slots=True)
class StorePut(Effect[None]):
    """Set a value of the owner's store."""

    key: str
    value: Value


@dataclass(frozen=True, slots=True)
class StoreDelete(Effect[bool]):
    """Remove a value of the owner's store; whether it was there."""

    key: str


@dataclass(frozen=True, slots=True)
class StoreList(Effect[tuple[str, ...]]):
    """The keys of the owner's store that begin so."""

    prefix: str
