"""A session's history: its tokens and turns, as the records of its journal make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from actors.models.messages import TurnOutput
from actors.sessions.records import (
    Opened,
    Record,
    RolledBack,
    Titled,
    TurnEnded,
    TurnFailed,
    TurnRestarted,
    TurnStarted,
)
from actors.sessions.title import title_of
from api.cluster import TurnRecord
from api.errors import InvalidRequest
from api.turns import TurnRequest, TurnStart


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn whose tokens are in the context, from ``base_length`` on."""

    request: TurnRequest
    base_length: int
    prompt_ids: tuple[int, ...]
    output: TurnOutput

    @property
    def start(self) -> TurnStart:
        """As it was when it started, but for what was resident."""
        return TurnStart(self.request.turn_id, self.base_length, self.prompt_ids, 0)

    @property
    def end_length(self) -> int:
        """The context's length when it had ended."""
        return self.base_length + len(self.prompt_ids) + len(self.output.ids)

    def record(self) -> TurnRecord:
        """For the session's owner."""
        return TurnRecord(
            self.request.turn_id,
            self.request.prompt,
            self.output.text,
            self.base_length,
            self.end_length,
            len(self.output.ids),
            self.output.finish,
        )


class History:
    """Tokens and turns of one session; changes only by ``apply``, in the order of the journal.

    Attributes:
        num_restarts: of the turn that is open.
        quarantined: turns that failed since model actors died of them, by their ids.
        last_started: the turn that began last, whatever became of it, and the number of records up to its start.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.turns: list[EndedTurn] = []
        self.open_request: TurnRequest | None = None
        self.num_restarts = 0
        self.quarantined: set[str] = set()
        self.last_started: tuple[int, str | None] = (0, None)
        self.num_records = 0
        self.opened: Opened | None = None
        self._given_title: str | None = None

    @classmethod
    def replay(cls, records: Iterable[Record]) -> History:
        """The history that these records make."""
        history = cls()
        for record in records:
            history.apply(record)
        return history

    def apply(self, record: Record) -> None:
        """Take in the next record."""
        self.num_records += 1
        match record:
            case Opened():
                self.opened, self._given_title = record, record.title
            case Titled(title):
                self._given_title = title
            case TurnStarted(request):
                self.open_request, self.num_restarts = request, 0
                self.last_started = self.num_records, request.turn_id
            case TurnRestarted():
                self.num_restarts += 1
            case TurnEnded():
                self._end(record)
            case TurnFailed(turn_id, is_quarantined):
                self.open_request = None
                if is_quarantined:
                    self.quarantined.add(turn_id)
            case RolledBack(length, then):
                del self.tokens[length:]
                self.turns = [turn for turn in self.turns if turn.end_length <= length]
                self.tokens.extend(then)

    @property
    def title(self) -> str:
        """The title that it was given, or one that is made from its first message; "" before that."""
        first = self.turns[0].request if self.turns else self.open_request
        return self._given_title or (title_of(first.prompt) if first else "")

    def turn(self, turn_id: str) -> EndedTurn | None:
        """The ended turn of this id; None where there is none."""
        return next((turn for turn in reversed(self.turns) if turn.request.turn_id == turn_id), None)

    def prefix(self, length: int | None) -> list[Record]:
        """Records that make a history with the first ``length`` tokens of this one, and the turns that fit whole.

        Raises:
            InvalidRequest: the length lies outside the context.
        """
        length = len(self.tokens) if length is None else length
        self.check_length(length)
        records: list[Record] = []
        position = 0
        for turn in self.turns:
            if turn.end_length > length:
                break
            if turn.base_length != position:
                records.append(RolledBack(position, tuple(self.tokens[position : turn.base_length])))
            records += [TurnStarted(turn.request), TurnEnded(turn.request.turn_id, turn.prompt_ids, turn.output)]
            position = turn.end_length
        if position != length:
            records.append(RolledBack(position, tuple(self.tokens[position:length])))
        return records

    def check_length(self, length: int) -> None:
        """Refuse a length that this context has never had.

        Raises:
            InvalidRequest: it lies outside the context.
        """
        if not 0 <= length <= len(self.tokens):
            raise InvalidRequest(f"length {length} lies outside this context of {len(self.tokens)} tokens")

    def _end(self, ended: TurnEnded) -> None:
        assert self.open_request is not None, "a turn ends that has not started"
        assert self.open_request.turn_id == ended.turn_id, "another turn ends than has started"
        self.turns.append(EndedTurn(self.open_request, len(self.tokens), ended.prompt_ids, ended.output))
        self.tokens += [*ended.prompt_ids, *ended.output.ids]
        self.open_request = None
