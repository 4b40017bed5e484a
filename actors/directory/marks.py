"""Which model actor was last given a prompt that begins in a certain way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

MAX_MARKS = 65_536
"""The least recently used ones are forgotten; each is of some hundred bytes."""


class Marks:
    """Marks of prompts (see ``actors.contexts.marks``) and the incarnations that they were placed on.

    They choose where a prompt goes and nothing else: what is forgotten or out of date costs time only.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[bytes, str] = OrderedDict()

    def place(self, marks: Sequence[bytes]) -> str | None:
        """Where the prompt went that has most of these in common, which are in order."""
        return next((self._places[mark] for mark in reversed(marks) if mark in self._places), None)

    def put(self, marks: Sequence[bytes], incarnation: str) -> None:
        """A prompt with these goes there."""
        for mark in marks:
            self._places[mark] = incarnation
            self._places.move_to_end(mark)
        while len(self._places) > MAX_MARKS:
            self._places.popitem(last=False)
