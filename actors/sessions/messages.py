"""What a session's actor receives."""

from __future__ import annotations

from typing import Protocol

from actors.calls.interface import Interface
from actors.contexts.run import Ticket
from actors.models.messages import TurnOutput
from actors.sessions.listeners import Heard
from api.cluster import Edit, SessionDescription, SessionLog, TurnRecord
from api.turns import TurnRequest


class SessionCalls(Protocol):
    """The calls of a session. Each raises ``Moved`` where the session is not on this actor, or leaves it."""

    async def begin(
        self, request: TurnRequest, listener: str = "", after: str | None = None, edit: Edit | None = None
    ) -> Ticket:
        """See ``SessionHandle.begin``; ``listener`` is not told of this turn by ``next_turn``."""
        ...

    async def enqueue(self, request: TurnRequest, after: str | None = None, edit: Edit | None = None) -> None:
        """See ``SessionHandle.enqueue``."""
        ...

    async def edit(self, edit: Edit, after: str | None = None) -> None:
        """See ``SessionHandle.edit``."""
        ...

    async def log(self, start: int = 0, stop: int | None = None) -> SessionLog:
        """See ``SessionHandle.log``."""
        ...

    async def turn(self, turn_id: str) -> TurnRecord:
        """See ``SessionHandle.turn``."""
        ...

    async def hide(self, turn_id: str) -> None:
        """See ``SessionHandle.hide``."""
        ...

    async def ticket(
        self, turn_id: str, lost_attempt: int | None = None, delivered: TurnOutput | None = None
    ) -> Ticket:
        """See ``SessionTurns.ticket``."""
        ...

    async def ended(self, turn_id: str) -> TurnOutput:
        """See ``SessionTurns.ended``."""
        ...

    async def cancel(self, turn_id: str | None = None) -> bool:
        """See ``SessionHandle.cancel``."""
        ...

    async def typing(self) -> None:
        """See ``SessionHandle.typing``."""
        ...

    async def fork(
        self, target_id: str, length: int | None, after: str | None = None, before: str | None = None
    ) -> None:
        """Open a session of this id with a prefix of this one; see ``SessionHandle.fork``. Repeating is safe."""
        ...

    async def rollback(self, length: int | None, then: tuple[int, ...] = (), before: str | None = None) -> None:
        """See ``SessionHandle.rollback``. Durable on return; repeating is safe."""
        ...

    async def rename(self, title: str) -> None:
        """See ``SessionHandle.rename``. Durable on return."""
        ...

    async def describe(self) -> SessionDescription:
        """See ``SessionHandle.describe``."""
        ...

    async def tokens(self, turn_id: str) -> tuple[int, ...]:
        """See ``SessionHandle.tokens``."""
        ...

    async def next_turn(self, after: int | None, listener: str, wait_s: float) -> Heard:
        """See ``Listeners.next``; None: from now on, which is answered at once. Does not count as use."""
        ...


SESSION_CALLS = Interface(SessionCalls)
