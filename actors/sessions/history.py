"""A session's history: its tokens and turns, as the records of its journal make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.sessions.ended_turns import EndedTurn, FailedTurn, running_record
from actors.sessions.records import (
    Edited,
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
from api.cluster import Edit, TurnRecord
from api.errors import InvalidRequest
from api.turns import Part, TurnRequest


class History:
    """Tokens and turns of one session; changes only by ``apply``, in the order of the journal.

    Attributes:
        num_restarts: of the turn that is open.
        queued: turns that are to start, in their order, by their ids.
        failed: turns with a note that failed after they were accepted, or were cancelled before, by their ids.
        hidden: the ids of those that are shown no longer.
        quarantined: turns that failed since model actors died of them, by their ids.
        last_started: the turn that began last, whatever became of it, and the number of records up to its start.
        turns: those whose tokens are in the context.
        entries: what was said and added, in order: these turns, past ones, and the edits that added or began anew.
        told: parts that the next turn tells before its own.
        note, front, is_delisted: as the last edit that says so.
        hidden_names: all that edits hide; ``is_stale`` where one did since the context began.
        edit_ids: of all edits.
        version: the turn or edit that was accepted last; None where that is not known.
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
        self.entries: list[EndedTurn | Edit] = []
        self.told: tuple[Part, ...] = ()
        self.note: str | None = None
        self.front: str | None = None
        self.hidden_names: set[str] = set()
        self.is_stale = False
        self.is_delisted = False
        self.edit_ids: set[str] = set()
        self.version: str | None = None
        self._given_title: str | None = None
        self._open_told: tuple[Part, ...] = ()
        self._open_place = 0

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
                self.version = request.turn_id
            case TurnDismissed(request):
                self.queued.pop(request.turn_id, None)
                self.failed[request.turn_id] = FailedTurn(request, len(self.tokens), None)
            case TurnStarted(request, num_told):
                if self.queued.pop(request.turn_id, None) is None:
                    self.version = request.turn_id
                self.open_request, self.num_restarts = request, 0
                self._open_told, self.told = self.told[:num_told], self.told[num_told:]
                self._open_place = self._place_before(len(self.told))
                self.last_started = self.num_records, request.turn_id
            case TurnRestarted():
                self.num_restarts += 1
            case TurnEnded():
                self._end(record)
            case TurnFailed(turn_id, is_quarantined, reason):
                if self.open_request and self.open_request.note and reason:
                    self.failed[turn_id] = FailedTurn(self._open_alone, len(self.tokens), reason)
                self.open_request = None
                self.told, self._open_told = (*self._open_told, *self.told), ()
                if is_quarantined:
                    self.quarantined.add(turn_id)
            case TurnHidden(turn_id):
                self.hidden.add(turn_id)
            case RolledBack(length, then):
                self.failed = {
                    id: turn for id, turn in self.failed.items() if turn.is_past or turn.base_length <= length
                }
                self._cut(length)
                self.tokens.extend(then)
                self.version = None
            case Edited(edit):
                self._edit(edit)

    @property
    def title(self) -> str:
        """The title that it was given, or one that is made from its first message; "" before that."""
        return self._title(self.hidden)

    def title_without(self, turn_id: str) -> str:
        """What the title is when this turn is hidden too."""
        return self._title(self.hidden | {turn_id})

    def title_after(self, edit: Edit) -> str:
        """What the title is after this edit."""
        if edit.is_anew:
            return self._given_title or title_of(edit.told)
        return self.title or title_of(edit.told)

    def _title(self, hidden: set[str]) -> str:
        requests = [turn.request for turn in self.turns] + ([self.open_request] if self.open_request else [])
        hidden = set() if self.note is not None or self.front is not None else hidden
        first = next((request for request in requests if request.turn_id not in hidden), None)
        return self._given_title or title_of(first.prompt if first else self.told)

    def records(self) -> list[TurnRecord]:
        """All ended turns; of hidden ones what they take of the context, and nothing that was said."""
        records = [turn.record() for turn in self.turns]
        return [
            replace(record, prompt=(), text="", note="") if self._is_untold(record.turn_id) else record
            for record in records
        ]

    @property
    def shown_entries(self) -> list[EndedTurn | Edit]:
        """Those of ``SessionLog``."""
        return [entry for entry in self.entries if self._is_shown(entry)]

    @property
    def num_past(self) -> int:
        """How many of these there were when the context began anew."""
        begun_at = [place for place, entry in enumerate(self.entries) if isinstance(entry, Edit) and entry.is_anew]
        return sum(map(self._is_shown, self.entries[: begun_at[-1]])) if begun_at else 0

    def _is_shown(self, entry: EndedTurn | Edit) -> bool:
        return bool(entry.addition) if isinstance(entry, Edit) else not self._is_untold(entry.request.turn_id)

    def _is_untold(self, turn_id: str) -> bool:
        """Whether nothing is shown of what was said in this turn, since it is hidden: what an edit told may stay."""
        return turn_id in self.hidden and self.note is None and self.front is None

    @property
    def _open_alone(self) -> TurnRequest:
        """The open turn without what it tells for edits."""
        assert self.open_request is not None, "one is open"
        return replace(self.open_request, prompt=self.open_request.prompt[len(self._open_told) :])

    def turn(self, turn_id: str) -> EndedTurn | None:
        """The ended turn of this id; None where there is none."""
        turns = (entry for entry in reversed(self.entries) if isinstance(entry, EndedTurn))
        return next((turn for turn in turns if turn.request.turn_id == turn_id), None)

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
        turn = ended or failed
        end = ended.end_length if ended else failed.base_length if failed else None
        return turn is not None and not turn.is_past and end == len(self.tokens)

    @property
    def shown_ids(self) -> set[str]:
        """Of the turns that are not hidden."""
        turns = [entry for entry in self.entries if isinstance(entry, EndedTurn)]
        ids = {turn.request.turn_id for turn in turns} | self.failed.keys() | self.queued.keys()
        return (ids | ({self.open_request.turn_id} if self.open_request else set())) - self.hidden

    def prefix(self, length: int | None) -> list[Record]:
        """Records that make a history with the first ``length`` tokens of this one, and the turns that fit whole.

        Without a length it has all of the log, and what is to be told.

        Raises:
            InvalidRequest: the length lies outside the context.
        """
        num_tokens = len(self.tokens) if length is None else length
        self.check_length(num_tokens)
        entries = self.entries if length is None else self._entries_until(num_tokens)
        names = tuple(sorted(self.hidden_names))
        records: list[Record] = [Edited(Edit("hidden", hidden=names))] if entries and not self.is_stale else []
        position = 0
        for entry in entries:
            if isinstance(entry, Edit):
                records.append(Edited(replace(entry, note=None)))
                position = 0 if entry.is_anew else position
                continue
            if entry.base_length != position:
                gap = slice(position, entry.base_length)
                lost = (0,) * (entry.base_length - position)  # only the length of what was before counts
                records.append(RolledBack(position, lost if entry.is_past else tuple(self.tokens[gap])))
            turn_id = entry.request.turn_id
            ended = TurnEnded(turn_id, entry.prompt_ids, entry.output, entry.num_resident, entry.ended_at)
            records += [TurnStarted(entry.request, entry.num_told), ended]
            records += [TurnHidden(turn_id)] if turn_id in self.hidden else []
            position = entry.end_length
        if position != num_tokens:
            records.append(RolledBack(position, tuple(self.tokens[position:num_tokens])))
        if entries and (self.front is not None or self.is_stale):
            records.append(Edited(Edit("front", front=self.front, hidden=names if self.is_stale else ())))
        return records

    def _entries_until(self, length: int) -> list[EndedTurn | Edit]:
        """Up to the last turn that ends within this length; none where none does."""
        kept = [turn for turn in self.turns if turn.end_length <= length]
        return self.entries[: self.entries.index(kept[-1]) + 1] if kept else []

    def _place_before(self, num_untold: int) -> int:
        """Where to insert the entry of a turn that leaves ``num_untold`` parts of earlier edits for a later turn."""
        place = len(self.entries)
        while num_untold > 0 and place and isinstance(edit := self.entries[place - 1], Edit):
            num_untold -= len(edit.told)
            place -= 1
        return place

    def _cut(self, length: int) -> None:
        """Take all after this length out of the context, with what was added and told since."""
        if length < len(self.tokens):
            num_turns = len(self.turns)
            self.entries = self._entries_until(length) if self.turns else self.entries
            self.turns = [turn for turn in self.turns if turn.end_length <= length]
            self.told = self.told if len(self.turns) == num_turns else ()
            self.front = self.front if self.entries else None
        del self.tokens[length:]

    def _edit(self, edit: Edit) -> None:
        self.edit_ids.add(edit.edit_id)
        self.version = edit.edit_id
        self.note = self.note if edit.note is None else edit.note
        self.hidden_names.update(edit.hidden)
        self.is_stale = not edit.is_anew and (self.is_stale or bool(edit.hidden))
        self.is_delisted = self.is_delisted or edit.is_delisted
        if edit.is_anew:
            self._begin_anew(edit)
        else:
            self.told = (*self.told, *edit.told)
            self.front = self.front if edit.front is None else edit.front
        if edit.addition or edit.is_anew:
            self.entries.append(edit)

    def _begin_anew(self, edit: Edit) -> None:
        assert self.opened is not None, "the first record opens the session"
        self.entries = [
            replace(entry, is_past=True) if isinstance(entry, EndedTurn) else entry for entry in self.entries
        ]
        self.failed = {turn_id: replace(turn, is_past=True) for turn_id, turn in self.failed.items()}
        self.turns, self.tokens, self.told, self.front = [], [], edit.told, edit.front
        if edit.model is not None:
            limit = edit.max_context or self.opened.max_context
            self.opened = replace(self.opened, model=edit.model, max_context=limit, adapter=None)

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
        num_told = len(self._open_told)
        turn = EndedTurn(self.open_request, base, ended.prompt_ids, ended.output, num_resident, ended_at, num_told)
        self.turns.append(turn)
        self.entries.insert(self._open_place, turn)
        self.tokens += [*ended.prompt_ids, *ended.output.ids]
        self.open_request, self._open_told = None, ()
