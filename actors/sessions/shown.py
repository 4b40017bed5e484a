"""What of a session's history its owner is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actors.sessions.ended_turns import EndedTurn
from actors.sessions.history import History
from api.cluster import Edit, TurnRecord
from api.turns import TurnRequest


def shown_turns(history: History) -> list[TurnRecord]:
    """All that have ended in the context; of hidden ones what they take of it, and nothing that was said."""
    records = [turn.record(history.context.number) for turn in history.turns]
    return [
        replace(record, prompt=(), text="", note="") if is_untold(history, record.turn_id) else record
        for record in records
    ]


def shown_entries(history: History) -> list[EndedTurn | Edit]:
    """Those of ``SessionLog``, as the history has them."""
    return [entry for entry in history.entries if _is_shown(history, entry)]


def num_past(history: History) -> int:
    """How many of these there were when the context began anew."""
    return sum(_is_shown(history, entry) for entry in history.entries[: history.context.place])


def is_empty(history: History, waiting: Iterable[TurnRequest]) -> bool:
    """Whether nothing can be shown any longer, of the turns that wait neither."""
    turns = [entry.request for entry in history.entries if isinstance(entry, EndedTurn)]
    turns += [turn.request for turn in history.failed.values()]
    turns += [turn.request for turn in history.queued.values()]
    turns += [*waiting, *([history.open_turn.request] if history.open_turn else [])]
    shown = [turn for turn in turns if turn.turn_id not in history.hidden]
    if history.is_delisted:
        return not any(turn.note for turn in shown)
    return not shown and history.note is None and not any(isinstance(entry, Edit) for entry in history.entries)


def _is_shown(history: History, entry: EndedTurn | Edit) -> bool:
    return isinstance(entry, Edit) or not is_untold(history, entry.request.turn_id)


def is_untold(history: History, turn_id: str) -> bool:
    """Whether nothing is shown of what was said in this turn, since it is hidden: what an edit told may stay."""
    return turn_id in history.hidden and history.note is None and history.context.front is None
