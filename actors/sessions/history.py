"""A session's history: its tokens and turns, as the records of its journal make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from actors.models.messages import TurnOutput
from actors.sessions.records import (
    Opened,
    Record,
    RolledBack,
    Titled,
    TurnDismissed,
    TurnEnded,
    TurnFailed,
    TurnHidden,
    TurnQueued,
    TurnRestarted,
    TurnStarted,
)
from actors.sessions.title import title_of
from api.cluster import TurnRecord
from api.errors import InvalidRequest
from api.turns import Finish, TurnRequest, TurnStart


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn whose tokens are in the context, from ``base_length`` on."""

    request: TurnRequest
    base_length: int
    prompt_ids: tuple[int, ...]
    output: TurnOutput
    num_resident: int = 0
    ended_at: float | None = None

    @property
    def start(self) -> TurnStart:
        """As it was when it started."""
        return TurnStart(self.request.turn_id, self.base_length, self.prompt_ids, self.num_resident)

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
            self.request.note,
            self.ended_at,
        )


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A turn that came to nothing, at a context of ``base_length`` tokens; ``reason`` None where it was cancelled."""

    request: TurnRequest
    base_length: int
    reason: str | None

    def record(self) -> TurnRecord:
        """For the session's owner."""
        request, base = self.request, self.base_length
        finish = Finish("cancelled") if self.reason is None else None
        return TurnRecord(request.turn_id, request.prompt, "", base, base, 0, finish, request.note, None, self.reason)


class History:
    """Tokens and turns of one session; changes only by ``apply``, in the order of the journal.

    Attributes:
        num_restarts: of the turn that is open.
        queued: turns that are to start, in their order, by their ids.
        failed: turns with a note that failed after they were accepted, or were cancelled before, by their ids.
        hidden: the ids of those that are shown no longer.
        quarantined: turns that failed since model actors died of them, by their ids.
        last_started: the turn that began last, whatever became of it, and the number of records up to its start.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.turns: list[EndedTurn] = []
        self.open_request: TurnRequest | None = None
        self.num_restarts = 0
        self.queued: dict[str, TurnRequest] = {}
        self.failed: dict[str, FailedTurn] = {}
        self.hidden: set[str] = set()
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
            case TurnQueued(request):
                self.queued[request.turn_id] = request
            case TurnDismissed(request):
                self.queued.pop(request.turn_id, None)
                self.failed[request.turn_id] = FailedTurn(request, len(self.tokens), None)
            case TurnStarted(request):
                self.queued.pop(request.turn_id, None)
                self.open_request, self.num_restarts = request, 0
                self.last_started = self.num_records, request.turn_id
            case TurnRestarted():
                self.num_restarts += 1
            case TurnEnded():
                self._end(record)
            case TurnFailed(turn_id, is_quarantined, reason):
                if self.open_request and self.open_request.note and reason:
                    self.failed[turn_id] = FailedTurn(self.open_request, len(self.tokens), reason)
                self.open_request = None
                if is_quarantined:
                    self.quarantined.add(turn_id)
            case TurnHidden(turn_id):
                self.hidden.add(turn_id)
            case RolledBack(length, then):
                self.failed = {id: turn for id, turn in self.failed.items() if turn.base_length <= length}
                del self.tokens[length:]
                self.turns = [turn for turn in self.turns if turn.end_length <= length]
                self.tokens.extend(then)

    @property
    def title(self) -> str:
        """The title that it was given, or one that is made from its first message; "" before that."""
        return self._title(self.hidden)

    def title_without(self, turn_id: str) -> str:
        """What the title is when this turn is hidden too."""
        return self._title(self.hidden | {turn_id})

    def _title(self, hidden: set[str]) -> str:
        requests = [turn.request for turn in self.turns] + ([self.open_request] if self.open_request else [])
        first = next((request for request in requests if request.turn_id not in hidden), None)
        return self._given_title or (title_of(first.prompt) if first else "")

    def records(self) -> list[TurnRecord]:
        """All ended turns; of hidden ones what they take of the context, and nothing that was said."""
        records = [turn.record() for turn in self.turns]
        return [
            replace(record, prompt=(), text="", note="") if record.turn_id in self.hidden else record
            for record in records
        ]

    def turn(self, turn_id: str) -> EndedTurn | None:
        """The ended turn of this id; None where there is none."""
        return next((turn for turn in reversed(self.turns) if turn.request.turn_id == turn_id), None)

    def record(self, turn_id: str) -> TurnRecord | None:
        """A turn that ended, failed or runs, and is not hidden; None where there is none."""
        ended, failed, request = self.turn(turn_id), self.failed.get(turn_id), self.open_request
        if turn_id in self.hidden:
            return None
        if request and request.turn_id == turn_id:
            return running_record(request, len(self.tokens))
        return ended.record() if ended else failed.record() if failed else None

    def ends_with(self, turn_id: str) -> bool:
        """Whether nothing is in the context after this turn."""
        ended, failed = self.turn(turn_id), self.failed.get(turn_id)
        end = ended.end_length if ended else failed.base_length if failed else None
        return end == len(self.tokens)

    @property
    def shown_ids(self) -> set[str]:
        """Of the turns that are not hidden."""
        ids = {turn.request.turn_id for turn in self.turns} | self.failed.keys() | self.queued.keys()
        return (ids | ({self.open_request.turn_id} if self.open_request else set())) - self.hidden

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
            turn_id = turn.request.turn_id
            ended = TurnEnded(turn_id, turn.prompt_ids, turn.output, turn.num_resident, turn.ended_at)
            records += [TurnStarted(turn.request), ended]
            records += [TurnHidden(turn_id)] if turn_id in self.hidden else []
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
        base, (num_resident, ended_at) = len(self.tokens), (ended.num_resident, ended.ended_at)
        self.turns.append(EndedTurn(self.open_request, base, ended.prompt_ids, ended.output, num_resident, ended_at))
        self.tokens += [*ended.prompt_ids, *ended.output.ids]
        self.open_request = None


def running_record(request: TurnRequest, length: int, is_waiting: bool = False) -> TurnRecord:
    """A turn that runs, or waits, on a context of ``length`` tokens."""
    return TurnRecord(request.turn_id, request.prompt, "", length, length, 0, None, request.note, is_waiting=is_waiting)
