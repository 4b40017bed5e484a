"""What is done to conversations: they are made, added to, and deleted; what others do meanwhile is seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import uuid4

from api.cluster import Cluster, Edit, Retention, SessionOptions
from api.errors import NotLast, SessionNotFound, TooLarge, TurnRunning
from api.http.openai.responses.conversation import Conversation, find_conversation
from api.http.openai.responses.ids import conversation_id, new_addition_id, response_of_key
from api.http.openai.responses.items import Item, messages_of, num_item_chars, with_ids
from api.http.openai.responses.telling import without_deleted
from api.turns import Message


async def make(
    cluster: Cluster, owner: str, retention_s: float, items: Sequence[Item], metadata: Mapping[str, str]
) -> Conversation:
    """A new conversation, which begins with these items.

    Its context is of the default model until a response names another one.
    """
    options = SessionOptions(retention=Retention("keep"), idle_timeout_s=retention_s)
    session = await cluster.open_session(options, owner)
    try:
        added = _addition(session.session_id, items, messages_of(items)) if items else Edit(uuid4().hex)
        edit = Edit(added.edit_id, json.dumps(metadata), added.addition, added.told)
        await session.edit(edit)
        return await find_conversation(cluster, conversation_id(session.session_id), owner)
    except BaseException:
        await session.close()
        raise


async def describe(conversation: Conversation, metadata: Mapping[str, str]) -> Conversation:
    """The conversation with other metadata."""
    await conversation.session.edit(Edit(uuid4().hex, note=json.dumps(metadata)))
    return await conversation.again()


async def add(conversation: Conversation, items: Sequence[Item], max_chars: int) -> list[Item]:
    """Add items at the end; the next turn tells them. Returns them with their ids.

    Raises:
        TooLarge: the next turn would have to tell more than ``max_chars`` characters.
    """
    while items:
        if num_item_chars([*await conversation.added_items(), *items]) > max_chars:
            raise TooLarge(f"items that no response has read yet have more than {max_chars} characters")
        told = await conversation.messages_of(items)
        edit = _addition(conversation.session.session_id, items, told)
        try:
            await conversation.session.edit(edit, conversation.log.version)
        except NotLast:
            conversation = await conversation.again()
            continue
        added: list[Item] = json.loads(edit.addition)
        return added
    return []


async def delete_item(conversation: Conversation, item_id: str) -> Conversation:
    """Delete an item, and take it out of the context, if that holds anything yet, as soon as no turn runs.

    Raises:
        ItemNotFound: there is none of this id.
    """
    await conversation.item(item_id)
    await conversation.session.edit(Edit(uuid4().hex, hidden=(item_id,)))
    conversation = await conversation.again()
    while conversation.log.is_stale and await conversation.has_context():
        await conversation.idle()
        conversation = await conversation.again()
        with suppress(NotLast, TurnRunning):
            await conversation.session.edit(await without_deleted(conversation), conversation.log.version)
        conversation = await conversation.again()
    return conversation


async def delete(conversation: Conversation) -> None:
    """Delete a conversation; its responses stay, and what they are made from."""
    with suppress(SessionNotFound):  # it was there before: another call has deleted it, or this one
        await conversation.session.edit(Edit(uuid4().hex, is_delisted=True))


def _addition(session_id: str, items: Sequence[Item], told: Sequence[Message]) -> Edit:
    edit_id = new_addition_id(session_id)
    bare = [{name: value for name, value in item.items() if name != "id"} for item in items]
    added = json.dumps(with_ids(bare, response_of_key(edit_id)), ensure_ascii=False)
    return Edit(edit_id, addition=added, told=tuple(told))
