"""What was said up to a stored response: for a context of its own, and as messages."""

from __future__ import annotations

from api.errors import NotLast, SessionNotFound, TurnNotFound
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.entries import said_in
from api.http.openai.responses.errors import PreviousResponseNotFound
from api.http.openai.responses.stored import Stored
from api.turns import Earlier, Message, Part, messages_in


async def context_after(previous: Stored, draft: Draft) -> tuple[Part, ...]:
    """All that was said up to a response, with its ids, under the front of the draft."""
    note = previous.note
    try:
        ids = await previous.session.tokens(previous.id)
    except NotLast:
        ids, previous = (), await previous.again()
    except (SessionNotFound, TurnNotFound):
        raise PreviousResponseNotFound(previous.id) from None
    failed = previous.record.prompt if previous.record.error is not None else ()
    said = draft.that_might_fit(await said_until(previous))
    if not ids and failed[: note.num_opening] == note.opening:
        failed = failed[note.num_opening :]
    if not ids or note.model != draft.model.name:
        return (*draft.opening, *said, *messages_in(failed))
    return (*draft.opening, Earlier(ids, note.opening, note.tools, said), *failed)


async def said_until(previous: Stored) -> tuple[Message, ...]:
    """What was said in a session up to the end of a response, but for the instructions at its front."""
    return await said_in(previous.models, previous.session, previous.record)
