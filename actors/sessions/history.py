"""A session's history: its tokens and turns, as the records of its journal make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.sessions.context import SessionContext
from actors.sessions.ended_turns import EndedTurn, FailedTurn, OpenTurn
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
    TurnKept,
    TurnQueued,
    TurnRestarted,
    TurnStarted,
)
from actors.sessions.title import title_of
from api.cluster import Edit, TurnRecord
from api.errors import NotLast, TurnNotFound


class History:
    """Tokens and turns of one session; changes only by ``apply``, in the order of the journal.

    Attributes:
        context: from where it began on.
        open_turn: the one that runs.
        queued: turns that are to start, in their order, by their ids.
        failed: turns with a note that failed after they were accepted, or were cancelled before, by their ids.
        hidden: the ids of those that are shown no longer.
        quarantined: turns that failed since model actors died of them, by their ids.
        last_started: the turn that began last, whatever became of it, and the number of records up to its start.
        entries: what was said and added, in order: turns, also those of earlier contexts, and the edits that added.
        note, is_delisted: as the last edit that says so.
        hidden_names: all that edits hide.
        edit_ids: of all edits.
        version: the turn or edit that was accepted last; None where that is not known.
    """

    def __init__(self) -> None:
        self.context = SessionContext()
        self.open_turn: OpenTurn | None = None
        self.queued: dict[str, TurnQueued] = {}
        self.failed: dict[str, FailedTurn] = {}
        self.hidden: set[str] = set()
        self.quarantined: set[str] = set()
        self.last_started: tuple[int, str | None] = (0, None)
        self.num_records = 0
        self.entries: list[EndedTurn | Edit] = []
        self.note: str | None = None
        self.hidden_names: set[str] = set()
        self.is_delisted = False
        self.edit_ids: set[str] = set()
        self.version: str | None = None
        self._num_contexts = 0
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
                self.context.opened, self._given_title = record, record.title
            case Titled(title):
                self._given_title = title
            case TurnQueued(request):
                self.queued[request.turn_id] = record
                self.version = request.turn_id
            case TurnDismissed(request):
                self.queued.pop(request.turn_id, None)
                self.failed[request.turn_id] = FailedTurn(request, len(self.tokens), None, self.context.number)
            case TurnStarted():
                self._start(record)
            case TurnKept():
                self._keep(record)
            case TurnRestarted():
                assert self.open_turn is not None, "a turn is restarted that has not started"
                self.open_turn = replace(self.open_turn, num_restarts=self.open_turn.num_restarts + 1)
            case TurnEnded():
                self._end(record)
            case TurnFailed():
                self._fail(record)
            case TurnHidden(turn_id):
                self.hidden.add(turn_id)
            case RolledBack(length, then):
                self._roll_back(length)
                self.tokens.extend(then)
                self.version = None
            case Edited(edit):
                self._edit(edit)
                self.version = edit.edit_id

    @property
    def tokens(self) -> list[int]:
        """Of the context."""
        return self.context.tokens

    @property
    def turns(self) -> list[EndedTurn]:
        """Those whose tokens are in it."""
        return self.context.turns

    @property
    def title(self) -> str:
        """The title that it was given, or one that is made from its first message; "" before that.

        None is made while the context holds what was hidden.
        """
        return self._title(self.context, self.open_turn, self.hidden)

    def title_without(self, turn_id: str) -> str:
        """What the title is when this turn is hidden too."""
        return self._title(self.context, self.open_turn, self.hidden | {turn_id})

    def title_after(self, edit: Edit) -> str:
        """What the title is after this edit."""
        return self._title(self.context_after(edit), None if edit.is_anew else self.open_turn, self.hidden)

    @property
    def title_without_open(self) -> str:
        """What the title is when the open turn has failed."""
        return self._title(self.context, None, self.hidden)

    def _title(self, context: SessionContext, open_turn: OpenTurn | None, hidden: set[str]) -> str:
        turns: list[EndedTurn | OpenTurn] = [*context.turns, *([open_turn] if open_turn else [])]
        hidden = set() if self.note is not None or context.front is not None else hidden
        first = next((turn for turn in turns if turn.request.turn_id not in hidden), None)
        made = "" if context.is_stale else title_of(first.prompt if first else context.told)
        return self._given_title or made

    def context_after(self, edit: Edit | None) -> SessionContext:
        """What the context is after this edit."""
        if edit is None:
            return self.context
        if edit.is_anew:
            return self.context.anew(edit, self._num_contexts + 1, len(self.entries))
        return self.context.after(edit)

    def turn(self, turn_id: str) -> EndedTurn | None:
        """The ended turn of this id; None where there is none."""
        turns = (entry for entry in reversed(self.entries) if isinstance(entry, EndedTurn))
        return next((turn for turn in turns if turn.request.turn_id == turn_id), None)

    def record(self, turn_id: str) -> TurnRecord | None:
        """A turn that ended, failed or runs, and is not hidden; None where there is none."""
        if turn_id in self.hidden:
            return None
        if self.open_turn and self.open_turn.request.turn_id == turn_id:
            return self.open_turn.record(len(self.tokens))
        turn = self.turn(turn_id) or self.failed.get(turn_id)
        return turn.record(self.context.number) if turn else None

    def ends_with(self, turn_id: str) -> bool:
        """Whether nothing is in the context after this turn."""
        record = self.record(turn_id)
        return record is not None and not record.is_past and record.end_length == len(self.tokens)

    def length_before(self, turn_id: str) -> int:
        """Tokens of the context when this turn started.

        Raises:
            TurnNotFound: it is not in the context.
        """
        if self.open_turn and self.open_turn.request.turn_id == turn_id:
            return len(self.tokens)
        for turn in self.turns:
            if turn.request.turn_id == turn_id:
                return turn.base_length
        raise TurnNotFound(turn_id)

    def length_after(self, turn_id: str) -> int:
        """Tokens of the context when this turn had ended.

        Raises:
            NotLast: the context does not hold just what was said up to then: it has begun anew since, or something was
                hidden, or what was to be told still is.
            TurnNotFound: no turn of this id has ended.
        """
        turn = self.turn(turn_id) or self.failed.get(turn_id)
        if turn is None:
            raise TurnNotFound(turn_id)
        record, context = turn.record(self.context.number), self.context
        if record.is_past or context.is_stale or (record.error is not None and context.told):
            raise NotLast(f"the context does not hold what was said up to {turn_id!r:.100}")
        return record.end_length

    def _start(self, started: TurnStarted) -> None:
        turn_id = started.request.turn_id
        if started.edit is not None:
            self._edit(started.edit)
        if self.queued.pop(turn_id, None) is None:
            self.version = turn_id
        context, num_before = self.context, started.num_before
        told, context.told = context.told[:num_before], context.told[num_before:]
        place = self._place_before(len(context.told))
        self.open_turn = OpenTurn(started.request, told, place, prompt_ids=started.prompt_ids)
        self.last_started = self.num_records, turn_id

    def _end(self, ended: TurnEnded) -> None:
        turn, self.open_turn = self.open_turn, None
        assert turn is not None, "a turn ends that has not started"
        assert turn.request.turn_id == ended.turn_id, "another turn ends than has started"
        context, output = self.context, ended.output
        made = EndedTurn(
            turn.request,
            len(context.tokens),
            ended.prompt_ids,
            output,
            ended.num_resident,
            ended.ended_at,
            turn.told,
            context.number,
            model=context.opened.model if context.opened else "",
        )
        context.turns.append(made)
        context.tokens += [*ended.prompt_ids, *output.ids]
        self.entries.insert(turn.place, made)

    def _fail(self, failed: TurnFailed) -> None:
        turn, self.open_turn = self.open_turn, None
        waiting, context = self.queued.pop(failed.turn_id, None), self.context.number
        if turn is not None:
            self.context.told = (*turn.told, *self.context.told)
        elif waiting is not None:  # the context that it was to begin never was
            context = self._num_contexts = self._num_contexts + 1
        request = turn.request if turn else waiting.request if waiting else None
        if request is not None and request.note and failed.reason:
            self.failed[failed.turn_id] = FailedTurn(request, len(self.tokens), failed.reason, context)
        if failed.is_quarantined:
            self.quarantined.add(failed.turn_id)

    def _keep(self, kept: TurnKept) -> None:
        request, base, output = kept.request, kept.base_length, kept.output
        turn = EndedTurn(request, base, (), output, kept.num_resident, kept.ended_at, context=-1, model=kept.model)
        self.entries.append(replace(turn, num_forgotten=kept.num_prompt))

    def _place_before(self, num_untold: int) -> int:
        """Where to insert the entry of a turn that leaves ``num_untold`` parts of earlier edits for a later turn."""
        place = len(self.entries)
        while num_untold > 0 and place > self.context.place and isinstance(edit := self.entries[place - 1], Edit):
            num_untold -= len(edit.told)
            place -= 1
        return place

    def _roll_back(self, length: int) -> None:
        """Take all after this length out of the context, with what was added and told since."""
        context = self.context
        self.failed = {
            turn_id: turn
            for turn_id, turn in self.failed.items()
            if turn.context != context.number or turn.base_length <= length
        }
        if length < len(context.tokens):
            num_turns = len(context.turns)
            self.entries = self.entries_until(length) if context.turns else self.entries
            context.turns = context.turns_within(length)
            context.told = context.told if len(context.turns) == num_turns else ()
            context.front = context.front if self.entries else None
            context.place = min(context.place, len(self.entries))
        del context.tokens[length:]

    def entries_until(self, length: int) -> list[EndedTurn | Edit]:
        """Up to the last turn that ends within this length; none where none does."""
        kept = self.context.turns_within(length)
        return self.entries[: self.entries.index(kept[-1]) + 1] if kept else []

    def _edit(self, edit: Edit) -> None:
        before, self.context = self.context, self.context_after(edit)
        self.edit_ids.add(edit.edit_id)
        self.note = self.note if edit.note is None else edit.note
        self.hidden_names.update(edit.hidden)
        self.is_delisted = self.is_delisted or edit.is_delisted
        if edit.is_anew:
            self._num_contexts = self.context.number
            self._forget(before)
        if edit.addition:
            self.entries.append(edit)

    def _forget(self, context: SessionContext) -> None:
        """Keep nothing of a context that is not the session's any longer but what was said in it."""
        for place in range(context.place, len(self.entries)):
            entry = self.entries[place]
            self.entries[place] = replace(entry, told=()) if isinstance(entry, Edit) else entry.without_context()
