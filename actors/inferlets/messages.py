"""What an inferlet's actor receives."""

from __future__ import annotations

from typing import Protocol

from actors.calls.interface import Interface
from api.inferlet_events import Event
from api.inferlets import InferletDescription
from api.values import Value


class InferletCalls(Protocol):
    """The calls of an inferlet. Each raises ``Moved`` where the inferlet is not on this actor, or leaves it."""

    async def deliver(self, key: str, value: Value) -> int:
        """See ``InferletHandle.send``."""
        ...

    async def read(self, after: int, wait_s: float) -> tuple[Event, ...]:
        """See ``Reception.read``."""
        ...

    async def describe(self) -> InferletDescription:
        """See ``InferletHandle.describe``."""
        ...

    async def terminate(self) -> bool:
        """See ``InferletHandle.terminate``."""
        ...


INFERLET_CALLS = Interface(InferletCalls)
