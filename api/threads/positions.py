"""A position in a thread's log: the last entry that was read, and how much of each block that is open there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from api.errors import InvalidRequest

_POSITION = re.compile(r"[0-9]{1,15}(~[0-9]{1,15}\.[0-9]{1,6}\.[0-9]{1,15})*", re.ASCII)
MAX_CHARS = 16_384
"""Enough for as many open blocks as one step of a model can have."""


@dataclass(frozen=True, slots=True)
class Position:
    """Opaque to clients. ``offsets`` says by number of the block which part was read last, and how many UTF-8 bytes.

    Only the last part of a block grows, so all parts before that one were read to their ends.
    """

    seq: int = 0
    offsets: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None) -> Position:
        """What ``str`` has made; an integer is the position after that entry; None is the start.

        Earlier releases named every part of a block, in their order.

        Raises:
            InvalidRequest: it is neither.
        """
        if text is None:
            return cls()
        if len(text) > MAX_CHARS or not _POSITION.fullmatch(text):
            raise InvalidRequest("after: a position in this thread is expected, as the id of an event has it")
        seq, *opened = text.split("~")
        found = [tuple(map(int, one.split("."))) for one in opened]
        return cls(int(seq), {block: (part, end) for block, part, end in found})

    def __str__(self) -> str:
        return "~".join((str(self.seq), *(f"{block}.{part}.{end}" for block, (part, end) in self.offsets.items())))

    def after_delta(self, block: int, part: int, end: int) -> Position:
        """The position after a delta that ends there."""
        return Position(self.seq, {**self.offsets, block: (part, end)})

    def after_entry(self, seq: int, closes: int | None = None) -> Position:
        """The position after an entry, which might close a block."""
        return Position(seq, {block: end for block, end in self.offsets.items() if block != closes})
