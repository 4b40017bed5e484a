"""What was said up to a stored response: for a context of its own, and as messages."""

from __future__ import annotations

from api.cluster import Cluster
from api.http.openai.responses.draft import Draft, Note
from api.http.openai.responses.items import messages_of
from api.http.openai.responses.stored import Stored, stored_of
from api.turns import Earlier, Message, Part, messages_in


async def context_after(cluster: Cluster, previous: Stored, draft: Draft) -> tuple[Part, ...]:
    """All that was said up to a response, with its ids, under the front of the draft."""
    record, note = previous.record, previous.note
    ids = await previous.session.tokens(record.end_length)
    failed = record.prompt if record.error is not None else ()
    said = await said_until(cluster, previous)
    failed = failed if ids else failed[note.num_opening :]
    if not ids or note.model != draft.model.name:
        return (*draft.opening, *said, *messages_in(failed))
    return (*draft.opening, Earlier(ids, note.opening, note.tools, said), *failed)


async def said_until(cluster: Cluster, previous: Stored) -> tuple[Message, ...]:
    """What is in a session's context up to the end of a response, but for the instructions at its front."""
    parts: list[Part] = []
    for record in (await previous.session.describe()).turns:
        if record.base_length >= previous.record.end_length and record.turn_id != previous.id:
            break
        num_opening = Note.read(record.note).num_opening if record.note and record.base_length == 0 else 0
        parts += record.prompt[num_opening:]
        if not record.note:
            parts += [Message("assistant", record.text)] if record.text else []
        elif record.finish is not None:
            parts += messages_of(await (await stored_of(cluster, previous.session, record)).output())
    return messages_in(parts)
