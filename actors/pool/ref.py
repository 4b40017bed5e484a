"""The caller's side of an occupant of a pooled actor: finds it again after it has moved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from actors.calls.ray import ActorGone, call, patiently
from api.errors import Moved, Unavailable


@dataclass(frozen=True, slots=True)
class Location:
    """Where something is: its owner, and the actor. ``assignment`` names this activation."""

    id: str
    owner: str
    assignment: str
    actor: Any


class TenantCall:
    """The transport to a session or an inferlet. Where its actor is dead, or does not hold it, the directory is asked.

    ``locate`` is the directory's, given the id and the assignment that was found dead.
    """

    def __init__(
        self, kind: str, location: Location, locate: Callable[[str, str], Awaitable[Location]], timeout_s: float
    ) -> None:
        self._kind = kind
        self._location = location
        self._locate = locate
        self._timeout_s = timeout_s

    async def __call__(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """The answer of this method.

        Raises:
            Unavailable: it cannot be reached in time.
        """
        try:
            attempt = partial(self._attempt, method, arguments)
            return await patiently(attempt, (ActorGone, Moved), self._timeout_s)
        except (ActorGone, Moved) as error:
            raise Unavailable(f"the {self._kind} cannot be reached: {type(error).__name__}") from None

    async def _attempt(self, method: str, arguments: tuple[Any, ...]) -> Any:
        location = self._location
        try:
            return await call(location.actor, location.id, method, arguments)
        except (ActorGone, Moved):
            if self._location is location:
                self._location = await self._locate(location.id, location.assignment)
            raise
