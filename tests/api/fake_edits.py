"""What edits have made of a session in memory."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from api.cluster import Edit
from api.turns import Part, TurnRequest
from tests.api.fake_turn import FakeTurn


class FakeEdits:
    """The state that ``Edit`` changes.

    Attributes:
        entries: turns as they begin, and edits with an addition.
        past: turns that the context no longer holds; ``old`` are the edits before it began anew.
        made: the ids of all edits.
    """

    def __init__(self) -> None:
        self.entries: list[FakeTurn | Edit] = []
        self.past: list[FakeTurn] = []
        self.old: list[Edit] = []
        self.made: set[str] = set()
        self.hidden: set[str] = set()
        self.note: str | None = None
        self.front: str | None = None
        self.version: str | None = None
        self.is_stale = False
        self.is_delisted = False
        self._told: tuple[Part, ...] = ()
        self._by: dict[str, tuple[Part, ...]] = {}

    @property
    def told(self) -> tuple[Part, ...]:
        """What the next turn tells before its own; what failed turns told is to be told again."""
        for turn in self.entries:
            if isinstance(turn, FakeTurn) and turn.error is not None:
                self._told = (*self._by.pop(turn.request.turn_id, ()), *self._told)
        return self._told

    def make(self, edit: Edit) -> None:
        """Take an edit in."""
        self.made.add(edit.edit_id)
        self.version = edit.edit_id
        self.note = self.note if edit.note is None else edit.note
        self.hidden |= set(edit.hidden)
        self.is_stale = not edit.is_anew and (self.is_stale or bool(edit.hidden))
        self.is_delisted = self.is_delisted or edit.is_delisted
        self._told = edit.told if edit.is_anew else (*self.told, *edit.told)
        self.front = edit.front if edit.is_anew or edit.front is not None else self.front
        if edit.is_anew:
            self.old = [entry for entry in self.entries if isinstance(entry, Edit)]
        if edit.addition:
            self.entries.append(edit)

    def tell(self, request: TurnRequest) -> TurnRequest:
        """The turn with what is to be told before it."""
        return replace(request, prompt=(*self.told, *request.prompt))

    def started(self, turn: FakeTurn) -> None:
        """A turn with it has begun."""
        self._by[turn.request.turn_id], self._told = self.told, ()
        self.entries.append(turn)

    def num_told(self, turn: FakeTurn) -> int:
        """Parts of its prompt that edits had it tell."""
        return len(self._by.get(turn.request.turn_id, ()))

    def whole(self) -> FakeEdits:
        """The same, which stays as it is when this one changes."""
        whole = FakeEdits()
        whole.__dict__.update({name: copy(value) for name, value in self.__dict__.items()})
        return whole

    def copy(self, turns: Sequence[FakeTurn], is_whole: bool) -> FakeEdits:
        """Those of a context that ends with these turns, or of the whole one."""
        copied = FakeEdits()
        copied.__dict__.update(self.__dict__)
        last = max((place for place, entry in enumerate(self.entries) if entry in turns), default=-1)
        copied.entries = list(self.entries if is_whole else self.entries[: last + 1])
        copied.past, copied.old, copied.made = list(self.past), list(self.old), set(self.made)
        copied.hidden, copied._by = set(self.hidden), dict(self._by)
        copied.note, copied.is_delisted = None, False
        if not is_whole:
            copied._told = ()
            copied.front = self.front if copied.entries else None
            copied.past = [turn for turn in self.past if turn in copied.entries]
        return copied
