"""What a model has to be told of a conversation, and what its context begins with."""

from __future__ import annotations

import json
from contextlib import aclosing
from uuid import uuid4

from api.cluster import Edit, TurnRecord
from api.http.openai.responses.conversation import Conversation
from api.http.openai.responses.draft import Draft, Note
from api.http.openai.responses.entries import said_in
from api.http.openai.responses.items import messages_of
from api.turns import Earlier, Part, Tokens


async def front_of(conversation: Conversation) -> str | None:
    """What the context begins with, as that of a draft; None where it is empty and no edit says it."""
    if conversation.log.front is not None:
        return conversation.log.front
    has_turns = False
    async with aclosing(conversation.entries(is_newest_first=True)) as entries:
        async for entry in entries:
            if isinstance(entry, TurnRecord) and not entry.is_past:
                has_turns = True
                if entry.note:
                    return Note.read(entry.note).front
    return json.dumps([conversation.log.model, None, []]) if has_turns else None


async def context_for(conversation: Conversation, draft: Draft, front: str | None) -> tuple[Part, ...]:
    """All that was said, under the draft's front: as its token ids where they are what is to be told.

    Raises:
        NotLast: the context has begun anew since.
    """
    last, log = await conversation.last_turn(), conversation.log
    if last is None or front is None or log.is_stale or log.model != draft.model.name:
        return (*draft.opening, *draft.that_might_fit(messages_of(await conversation.all_items())))
    ids = await conversation.session.tokens(last.turn_id)
    added = await conversation.messages_of(await conversation.added_items())
    if front == draft.front and not draft.drops_oldest:
        return (Tokens(ids), *added)
    said, before = await said_in(conversation.models, conversation.session, last), Note({}, [], front)
    return (*draft.opening, Earlier(ids, before.opening, before.tools, said), *added)


async def without_deleted(conversation: Conversation) -> Edit:
    """An edit after which the context does not hold what was deleted."""
    front = await front_of(conversation)
    opening = Note({}, [], front).opening if front is not None else ()
    told = (*opening, *messages_of(await conversation.all_items()))
    return Edit(uuid4().hex, told=told, is_anew=True, front=front)
