"""A turn while a torch engine works on it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.engine.context import Context
from actors.engine.contract import Admission
from actors.engine.history import TokenHistory
from actors.engine.output import TurnOutput
from api.turns import Finish


@dataclass(slots=True, eq=False)
class Turn:
    """A turn that has been admitted.

    Attributes:
        order: of admission; the latest is the first to give way.
        output: text and stops.
        seed: the admission's, or one chosen for it.
        history: for penalties; None without them.
        has_started: its prompt has been computed once.
        finish: how it ended, when that is known before the next step: cancelled, or ended by its earlier output.
    """

    admission: Admission
    context: Context
    order: int
    output: TurnOutput
    seed: int
    history: TokenHistory | None
    has_started: bool = False
    finish: Finish | None = None

    def take(self, token_id: int) -> tuple[str, Finish | None]:
        """Take note of an output token: the text that it completes, and how the turn ended, if it did."""
        if self.history is not None:
            self.history.append(token_id)
        return self.output.append(token_id)

    @property
    def turn_id(self) -> str:
        """Its id."""
        return self.admission.turn_id
