"""A turn while a torch engine works on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from actors.engine.constraints.matcher import Matcher
from actors.engine.context import Context
from actors.engine.contract import Admission
from actors.engine.sampling.penalties import TokenHistory
from actors.engine.text.output import TurnOutput
from api.errors import GreenroomError
from api.turns import Finish, Reason


@dataclass(slots=True, eq=False)
class Turn:
    """A turn that has been admitted.

    Attributes:
        order: of admission; the latest is the first to give way.
        output: text and stops.
        seed: the admission's, or one chosen for it.
        vocab_size: of the model: no other id is a token.
        history: for penalties; None without them.
        allowed: (vocab,), bool: see ``Draw``; None for all.
        matcher: the state of the output in the turn's constraint; None without one.
        planned_at: the last step in which it got on, where not all running turns do.
        has_started: its prompt has been computed once.
        summed: (width,), float64: of the hidden states so far, of a turn that ends with their mean.
        finish: how it ended, when that is known before the next step: cancelled, or ended by its earlier output.
        failure: what ended it before the next step.
    """

    admission: Admission
    context: Context
    order: int
    output: TurnOutput
    seed: int
    vocab_size: int
    history: TokenHistory | None
    allowed: Tensor | None = None
    matcher: Matcher | None = None
    planned_at: int = 0
    has_started: bool = False
    summed: Tensor | None = None
    finish: Finish | None = None
    failure: GreenroomError | None = None

    @property
    def is_over(self) -> bool:
        """Nothing more is computed for it."""
        return self.finish is not None or self.failure is not None

    def take(self, token_id: int) -> tuple[str, Finish | None]:
        """Take note of an output token: the text that it completes, and how the turn ended, if it did.

        Raises:
            GreenroomError: it is no token of the model, or the turn's grammar allowed it, and then did not take it.
        """
        if not 0 <= token_id < self.vocab_size:
            raise GreenroomError(f"token {token_id} lies outside the model's vocabulary of {self.vocab_size}")
        if self.history is not None:
            self.history.append(token_id)
        piece, finish = self.output.append(token_id)
        if self.matcher is None:
            return piece, finish
        if not self.matcher.accept(token_id):
            raise GreenroomError("the turn's constraint contradicts itself")
        return piece, self._constrained(finish)

    def _constrained(self, finish: Finish | None) -> Finish | None:
        """How the turn ended, with its constraint; an end of that one goes before a limit."""
        assert self.matcher is not None
        if (finish is None or finish.reason in ("length", "context")) and self.matcher.is_exhausted:
            reason: Reason = "eos" if self.matcher.is_ended else "stop"
            return self.output.end(reason) if finish is None else replace(finish, reason=reason)
        return finish

    @property
    def turn_id(self) -> str:
        """Its id."""
        return self.admission.turn_id

    @property
    def owner(self) -> str:
        """Whose it is."""
        return self.admission.owner
