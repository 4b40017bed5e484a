"""What a context contains, and the model actor that its KV lies on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from actors.calls.scope import Scope
from actors.engine.contract import Hole, tokens_hash
from actors.models.ref import Placement
from api.cluster import Retention


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the KV of a context is computed from; its owner keeps it."""

    ids: tuple[int, ...] = ()
    holes: tuple[Hole, ...] = ()
    adapter: str | None = None

    @property
    def hash(self) -> bytes:
        """By which a model actor recognises that it holds this."""
        return tokens_hash(self.ids, self.holes)


class Placer(Protocol):
    """What a context needs of the directory."""

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """The model actor for a context; see ``DirectoryRef.place``."""
        ...


@dataclass(eq=False)
class PlacedContext:
    """A context by its id, for its owner.

    Attributes:
        timeout_s: for how long its turns wait for a model actor.
        placement: the model actor that it was last on; None where that is not known here.
        is_temporary: it ends with its only turn.
        is_warm, keep_s: for one turn, which begins from what its owner's warm contexts hold; see ``StartTurn``.
        scope: has its tasks, and those of its forks.
    """

    placer: Placer
    id: str
    model: str
    timeout_s: float
    owner: str = ""
    retention: Retention = Retention()
    placement: Placement | None = None
    is_temporary: bool = False
    is_warm: bool = False
    keep_s: float = 0.0
    scope: Scope = field(default_factory=Scope)

    async def place(self, lost: str | None = None) -> Placement:
        """The known model actor, or the one that the directory names where none is known or this one is lost.

        Raises:
            ModelNotFound, Unavailable
        """
        if self.placement is None or lost is not None:
            key = "" if self.is_temporary or self.is_warm else self.id
            self.placement = await self.placer.place(self.model, key, lost)
        return self.placement
