"""A turn inside a model actor: its start, its log, its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from actors.engine.contract import Output
from actors.journal.log import Log
from actors.models.messages import StartTurn, TurnOutput
from api.errors import GreenroomError
from api.turns import Finish, Frame, TokenLogprobs, TurnStart


@dataclass(frozen=True, slots=True)
class Token:
    """One record of a turn's log."""

    id: int
    piece: str
    logprobs: TokenLogprobs | None


@dataclass(slots=True)
class ModelTurn:
    """One attempt at a turn. Its log starts with what earlier attempts had delivered, so offsets hold across attempts.

    Times are of ``time.monotonic``. ``is_read`` once somebody was given its end.
    """

    message: StartTurn
    start: TurnStart
    log: Log[Token] = field(default_factory=Log)
    finish: Finish | None = None
    error: Exception | None = None
    started_at: float = field(default_factory=time.monotonic)
    first_token_at: float | None = None
    read_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    is_orphaned: bool = False
    is_read: bool = False

    def __post_init__(self) -> None:
        prior = self.message.prior
        self._extend(prior.ids, prior.pieces, prior.logprobs)

    @property
    def turn_id(self) -> str:
        """The turn's id."""
        return self.message.request.turn_id

    @property
    def key(self) -> str:
        """See ``StartTurn.key``."""
        return self.message.key

    @property
    def is_ended(self) -> bool:
        """No more output will come."""
        return self.log.is_closed

    def is_of(self, message: StartTurn) -> bool:
        """Whether this message asks for this turn once more: not where it was cancelled, or has another context."""
        is_cancelled = self.finish is not None and self.finish.reason == "cancelled"
        is_same = self.message.attempt >= message.attempt and self.start.base_length == message.base_length
        return is_same and not is_cancelled

    def take(self, output: Output, now: float) -> None:
        """Append what a step has made."""
        if output.ids and self.first_token_at is None:
            self.first_token_at = now
        self._extend(output.ids, output.pieces, output.logprobs)
        if output.finish or output.error:
            self.finish = self._mark(output.finish)
            self.error = output.error
            self.ended_at = now
            self.log.close()

    def fail(self, error: GreenroomError, now: float) -> None:
        """End it with an error."""
        self.error, self.ended_at = error, now
        self.log.close()

    def output(self) -> TurnOutput:
        """All so far."""
        tokens = self.log.read(0)
        return TurnOutput(*_columns(tokens), self.finish)

    def has_news(self, offset: int) -> bool:
        """Whether there is anything after an offset; not where the log has not come so far again."""
        return offset < self.log.end or (offset == self.log.end and self.finish is not None)

    def has_urgent_news(self, offset: int) -> bool:
        """Whether what is after it, if anything, has the first token or the end."""
        return offset == 0 or self.finish is not None

    def frame(self, offset: int) -> Frame:
        """What there is from an offset on."""
        tokens = self.log.read(offset)
        self.is_read = self.is_read or self.finish is not None
        return Frame(self.turn_id, self.message.attempt, offset, *_columns(tokens), self.finish)

    def _extend(self, ids: tuple[int, ...], pieces: tuple[str, ...], logprobs: tuple[TokenLogprobs, ...]) -> None:
        rows = logprobs or (None,) * len(ids)
        self.log.append(Token(*row) for row in zip(ids, pieces, rows, strict=True))

    def _mark(self, finish: Finish | None) -> Finish | None:
        if finish is None or not self.is_orphaned:
            return finish
        return replace(finish, orphaned=True)


def _columns(
    tokens: list[Token],
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[TokenLogprobs, ...]]:
    ids = tuple(token.id for token in tokens)
    pieces = tuple(token.piece for token in tokens)
    return ids, pieces, tuple(token.logprobs for token in tokens if token.logprobs is not None)
