"""A session's records as its journal has them: without what follows from those before."""

from __future__ import annotations

from dataclasses import replace

from actors.sessions.history import History
from actors.sessions.records import Edited, Record, TurnEnded, TurnQueued, TurnStarted
from actors.sessions.repeats import KeptIds, KeptParts
from api.turns import Message, messages_in


def shortened(history: History, record: Record) -> Record:
    """The record as it is written after those that made this history."""
    tokens, turn = history.tokens, history.open_turn
    if isinstance(record, TurnEnded) and turn is not None and turn.prompt_ids == record.prompt_ids:
        return replace(record, prompt_ids=())
    if not isinstance(record, TurnQueued | TurnStarted | Edited) or record.edit is None or not record.edit.is_anew:
        return record
    kept = KeptParts.of(record.edit.told, _told(history), tokens)
    short = replace(record, edit=replace(record.edit, told=()), kept=kept)
    if isinstance(short, TurnStarted):
        return replace(short, prompt_ids=(), kept_ids=KeptIds.of(short.prompt_ids, tokens))
    return short


def whole(history: History, record: Record) -> Record:
    """What ``shortened`` shortened."""
    tokens, turn = history.tokens, history.open_turn
    if isinstance(record, TurnEnded) and turn is not None and not record.prompt_ids:
        return replace(record, prompt_ids=turn.prompt_ids)
    if not isinstance(record, TurnQueued | TurnStarted | Edited) or record.kept is None or record.edit is None:
        return record
    edit = replace(record.edit, told=record.kept.parts(_told(history), tokens))
    if isinstance(record, TurnStarted) and record.kept_ids is not None:
        return replace(record, edit=edit, kept=None, prompt_ids=record.kept_ids.ids(tokens), kept_ids=None)
    return replace(record, edit=edit, kept=None)


def _told(history: History) -> tuple[Message, ...]:
    """What the context was told first: most of that is told to the next one too."""
    context = history.context
    return messages_in(context.turns[0].told if context.turns else context.told)
