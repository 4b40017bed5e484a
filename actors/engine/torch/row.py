"""Tokens of one context, to be computed in one step."""

from __future__ import annotations

from dataclasses import dataclass

from actors.engine.context import Context


@dataclass(slots=True)
class Row:
    """Tokens ``start`` to ``end`` of one context, to be computed in one step.

    ``turn_id`` is None for a refill. ``samples`` says that the last token's logits are wanted, ``sums`` that the sum of
    the last hidden states of all is.
    """

    context: Context
    start: int
    end: int
    turn_id: str | None
    samples: bool
    sums: bool = False
    version: int = 0

    def __post_init__(self) -> None:
        self.version = self.context.version

    @property
    def count(self) -> int:
        """Tokens."""
        return self.end - self.start
