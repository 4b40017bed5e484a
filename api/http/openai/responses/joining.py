"""Responses in a conversation: each is the next turn of its session, in the order in which they are accepted."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

from api.cluster import Cluster, Edit, SessionHandle
from api.errors import LengthExceeded, NotLast, SessionNotFound, TurnNotFound, TurnRunning
from api.http.openai.responses.conversation import Conversation, find_conversation
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.errors import ConversationNotFound
from api.http.openai.responses.items import has_results
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.telling import context_for, front_of
from api.turns import Part


class BeginIn(Protocol):
    """Begins the turn of a draft in a session."""

    def __call__(
        self,
        session: SessionHandle,
        draft: Draft,
        prompt: Sequence[Part],
        after: str | None = None,
        edit: Edit | None = None,
    ) -> Awaitable[Reading]:
        """See ``SessionHandle.begin`` and ``SessionHandle.enqueue``."""
        ...


class Joining:
    """Begins responses of one owner in conversations. What another one does meanwhile is seen, and done again.

    The context goes on where it begins with what the draft begins with. Otherwise it begins anew, with all that was
    said, once the turns before have ended.
    """

    def __init__(self, cluster: Cluster, owner: str, is_queued: bool, begin_in: BeginIn) -> None:
        self._cluster = cluster
        self._owner = owner
        self._is_queued = is_queued
        self._begin_in = begin_in

    async def begin(self, draft: Draft, conversation_id: str) -> Reading:
        """Begin a response.

        Raises:
            ConversationNotFound: there is none of this id, or it is deleted meanwhile.
            GreenroomError: it cannot be; the conversation is as before.
        """
        conversation = await find_conversation(self._cluster, conversation_id, self._owner)
        draft = replace(draft, items=tuple(_without_id(item) for item in draft.items))
        is_full = False
        while True:
            try:
                return await self._begin_after(conversation, draft, is_full)
            except LengthExceeded:
                if is_full or not draft.drops_oldest:
                    raise
                is_full = True
            except TurnRunning:
                await conversation.idle()
            except NotLast:
                pass
            except (SessionNotFound, TurnNotFound):
                raise ConversationNotFound(conversation_id) from None
            conversation = await conversation.again()

    async def prompt(self, draft: Draft, conversation_id: str) -> tuple[Part, ...]:
        """All that a response that is not stored would be made from.

        Raises:
            ConversationNotFound: there is none of this id.
        """
        while True:
            conversation = await find_conversation(self._cluster, conversation_id, self._owner)
            with suppress(NotLast):
                before = await context_for(conversation, draft, await front_of(conversation))
                return (*before, *await conversation.messages_of(draft.items))

    async def _begin_after(self, conversation: Conversation, draft: Draft, is_full: bool) -> Reading:
        session, log = conversation.session, conversation.log
        if log.version is None:
            await session.edit(Edit(uuid4().hex))
            raise NotLast("another one might have come first")
        if log.unfinished and has_results(draft.items):
            raise TurnRunning("the calls of these results might be made now")
        front = await front_of(conversation)
        is_full = is_full or (
            self._is_queued and draft.drops_oldest and draft.might_not_fit(await _length(conversation))
        )
        is_anew = front != draft.front or log.is_stale or is_full
        edit = None if log.front == draft.front else Edit(uuid4().hex, front=draft.front)
        if is_anew:
            edit = await _anew(conversation, draft, front)
        return await self._begin_in(session, draft, await conversation.messages_of(draft.items), log.version, edit)


async def _length(conversation: Conversation) -> int:
    """Tokens of its context."""
    last = await conversation.last_turn()
    return last.end_length if last else 0


async def _anew(conversation: Conversation, draft: Draft, front: str | None) -> Edit:
    """What has the context begin anew under the draft's front.

    Raises:
        TurnRunning: a turn runs or waits.
    """
    if conversation.log.unfinished:
        raise TurnRunning("the context cannot begin anew")
    told, model = await context_for(conversation, draft, front), draft.model
    moved = (model.name, model.max_context_tokens) if model.name != conversation.log.model else (None, None)
    return Edit(uuid4().hex, told=told, is_anew=True, front=draft.front, model=moved[0], max_context=moved[1])


def _without_id(item: dict[str, object]) -> dict[str, object]:
    """An item that is named in a conversation is copied to its end."""
    return {name: value for name, value in item.items() if name != "id"}
