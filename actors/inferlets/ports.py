"""What an inferlet needs of the cluster around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from actors.contexts.placed import Placer
from actors.journal.contract import Journal
from actors.settings import InferletSettings
from api.cluster import ModelInfo
from api.inferlet_events import Event
from api.topics import Topics
from api.values import Value


class Family(Protocol):
    """What a program needs of the other inferlets of its owner."""

    async def launch_child(
        self, child_id: str, program: str, arguments: tuple[str, ...], owner: str, name: str | None, parent: str
    ) -> None:
        """Start an instance of this id, once."""
        ...

    async def next_event(self, child_id: str, owner: str, after: int, timeout_s: float | None) -> Event | None:
        """Its first message or end after a position; None where none comes in time."""
        ...

    async def deliver(self, child_id: str, owner: str, key: str, value: Value) -> None:
        """A message to it, once for each key."""
        ...

    async def terminate(self, child_id: str, owner: str) -> None:
        """End it."""
        ...


class ModelLister(Protocol):
    """What a program needs of the directory."""

    async def models(self) -> tuple[ModelInfo, ...]:
        """The models, the default one first."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the effects of an instance are performed with. ``topics`` is None where no broker runs."""

    journal: Journal
    directory: ModelLister
    family: Family
    topics: Topics | None


class InferletDirectory(Placer, Protocol):
    """What an instance needs of the directory."""

    async def inferlet_ended(self, instance_id: str, how: str) -> None:
        """It is over; see ``DirectoryRef.inferlet_ended``."""
        ...


@dataclass(frozen=True, slots=True)
class InferletParts:
    """What every instance on an actor is made with.

    Attributes:
        die: ends the process.
        clean_up: makes the process what it was before the program; what cannot be undone, in words.
    """

    directory: InferletDirectory
    surroundings: Surroundings
    settings: InferletSettings
    recovery_timeout_s: float
    die: Callable[[], object]
    clean_up: Callable[[], tuple[str, ...]] = tuple
