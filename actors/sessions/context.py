"""A session's context, from where it began on, as the records of the session's journal make it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from actors.sessions.ended_turns import EndedTurn
from actors.sessions.records import Opened
from api.cluster import Edit
from api.errors import InvalidRequest
from api.turns import Part


@dataclass(slots=True)
class SessionContext:
    """What the next turn goes on from.

    Attributes:
        opened: how, with the model and the limit of this context; None before the first record.
        number: of all that the session has begun, also of those that no turn was admitted to.
        place: how many entries of the log are older.
        tokens: of the turns that have ended in it.
        turns: those, and no others.
        told: parts that the next turn tells before its own.
        front: as the last edit that says so.
        is_stale: names were hidden since it began.
    """

    opened: Opened | None = None
    number: int = 0
    place: int = 0
    tokens: list[int] = field(default_factory=list)
    turns: list[EndedTurn] = field(default_factory=list)
    told: tuple[Part, ...] = ()
    front: str | None = None
    is_stale: bool = False

    def after(self, edit: Edit) -> SessionContext:
        """What it is after an edit that leaves it as it is, but for what the next turn tells."""
        told, front = (*self.told, *edit.told), self.front if edit.front is None else edit.front
        return replace(self, told=told, front=front, is_stale=self.is_stale or bool(edit.hidden))

    def anew(self, edit: Edit, number: int, place: int) -> SessionContext:
        """The one that begins with an edit."""
        opened = self.opened
        if opened is not None and edit.model is not None:
            limit = edit.max_context or opened.max_context
            opened = replace(opened, model=edit.model, max_context=limit, adapter=None)
        return SessionContext(opened, number, place, told=edit.told, front=edit.front)

    def turns_within(self, length: int) -> list[EndedTurn]:
        """Those that end within the first ``length`` tokens."""
        return [turn for turn in self.turns if turn.end_length <= length]

    def check_length(self, length: int) -> None:
        """Refuse a length that this context has never had.

        Raises:
            InvalidRequest: it lies outside the context.
        """
        if not 0 <= length <= len(self.tokens):
            raise InvalidRequest(f"length {length} lies outside this context of {len(self.tokens)} tokens")
