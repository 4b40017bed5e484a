"""The beginning of a session, as the records of a session that goes on from there."""

from __future__ import annotations

from collections.abc import Sequence

from actors.sessions.ended_turns import EndedTurn
from actors.sessions.history import History
from actors.sessions.records import Edited, Record, RolledBack, TurnEnded, TurnHidden, TurnKept, TurnStarted
from api.cluster import Edit


def prefix(history: History, length: int | None) -> list[Record]:
    """Records that make a history with the first ``length`` tokens of this one, and the turns that fit whole.

    Without a length it has all of the log, and what is to be told.

    Raises:
        InvalidRequest: the length lies outside the context.
    """
    context = history.context
    num_tokens = len(context.tokens) if length is None else length
    context.check_length(num_tokens)
    entries = history.entries if length is None else history.entries_until(num_tokens)
    names = tuple(sorted(history.hidden_names))
    records: list[Record] = [Edited(Edit("hidden", hidden=names))] if entries and not context.is_stale else []
    for entry in entries[: context.place]:
        records += _past(entry)
    if entries and context.place:
        records.append(Edited(Edit("anew", is_anew=True)))
    records += _present(history, entries[context.place :], num_tokens)
    if length is None and context.told:
        records.append(Edited(Edit("told", told=context.told)))
    if entries and (context.front is not None or context.is_stale):
        records.append(Edited(Edit("front", front=context.front, hidden=names if context.is_stale else ())))
    hidden = [entry.request.turn_id for entry in entries if isinstance(entry, EndedTurn)]
    return [*records, *(TurnHidden(turn_id) for turn_id in hidden if turn_id in history.hidden)]


def _past(entry: EndedTurn | Edit) -> list[Record]:
    if isinstance(entry, Edit):
        return [_addition(entry)]
    num_prompt, model = entry.num_prompt, entry.model
    kept = TurnKept(
        entry.request, entry.base_length, num_prompt, entry.output, entry.num_resident, entry.ended_at, model
    )
    return [kept]


def _present(history: History, entries: Sequence[EndedTurn | Edit], num_tokens: int) -> list[Record]:
    records: list[Record] = []
    position, tokens = 0, history.tokens
    for entry in entries:
        if isinstance(entry, Edit):
            records.append(_addition(entry))
            continue
        if entry.base_length != position:
            records.append(RolledBack(position, tuple(tokens[position : entry.base_length])))
        if entry.told:
            records.append(Edited(Edit("told", told=entry.told)))
        turn_id = entry.request.turn_id
        ended = TurnEnded(turn_id, entry.prompt_ids, entry.output, entry.num_resident, entry.ended_at)
        records += [TurnStarted(entry.request, len(entry.told)), ended]
        position = entry.end_length
    if position != num_tokens:
        records.append(RolledBack(position, tuple(tokens[position:num_tokens])))
    return records


def _addition(edit: Edit) -> Record:
    """What it told is told by the turn that did, or at the end."""
    return Edited(Edit(edit.edit_id, addition=edit.addition))
