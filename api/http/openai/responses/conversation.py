"""A conversation: a session, as the items that were said in it and added to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from api.cluster import Cluster, SessionHandle, SessionLog, TurnRecord
from api.errors import GreenroomError, SessionNotFound
from api.http.openai.responses.entries import Entry, EntryReader, key_of_entry
from api.http.openai.responses.errors import ConversationNotFound, ItemNotFound
from api.http.openai.responses.ids import key_of_item, session_of_conversation
from api.http.openai.responses.items import Item, has_results, messages_of, names_in
from api.http.openai.responses.models import Models
from api.http.openai.responses.pages import PageQuery, no_such_item, page_view
from api.http.openai.responses.stored import frames_of
from api.turns import Message

WINDOW = 32
"""Entries of a session's log that are read at once."""


PAGE_SCORES = 10_000
"""Tokens with log-probabilities after which a page ends."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One that was found, as it was then. ``log`` is without its entries.

    Its answers are read with log-probabilities, which take far more than the text, where it ``has_scores``.
    """

    id: str
    session: SessionHandle
    log: SessionLog
    models: Models
    has_scores: bool = False

    def view(self) -> dict[str, Any]:
        """As clients see it."""
        metadata = json.loads(self.log.note) if self.log.note else {}
        created_at = int(self.log.created_at)
        return {"id": self.id, "object": "conversation", "created_at": created_at, "metadata": metadata}

    async def items(self, is_newest_first: bool = False, after: str | None = None) -> AsyncGenerator[Item]:
        """The items that are not deleted, as they are asked for.

        Raises:
            InvalidField: there is no item ``after``, after which they begin.
        """
        key = after and key_of_item(after)
        async with aclosing(self.entries(is_newest_first)) as entries:
            async for entry in entries:
                if after is not None and key_of_entry(self.session.session_id, entry) != key:
                    continue
                items = await self._reader.items(entry)
                for item in reversed(items) if is_newest_first else items:
                    if after is None and item["id"] not in self.log.hidden:
                        yield item
                    after = None if item["id"] == after else after
        if after is not None:
            raise no_such_item(after)

    async def page(self, asked: PageQuery) -> dict[str, Any]:
        """A page of the items; shorter than it is asked for where they have many log-probabilities.

        Raises:
            InvalidField: there is no item that it begins after.
        """
        page, num_scored = list[Item](), 0
        async with aclosing(self.items(asked.is_newest_first, asked.after)) as items:
            async for item in items:
                if len(page) == asked.limit or num_scored >= PAGE_SCORES:
                    return page_view(page, has_more=True)
                page.append(item)
                num_scored += sum(len(part.get("logprobs", ())) for part in item.get("content", ()))
        return page_view(page, has_more=False)

    async def all_items(self) -> list[Item]:
        """The same, the oldest first, read side by side."""
        return [item for start in range(0, self.log.num_entries, WINDOW) for item in await self._items_of_window(start)]

    async def added_items(self) -> list[Item]:
        """Those that were added after the last turn, the oldest first."""
        found: list[Item] = []
        async with aclosing(self.entries(is_newest_first=True)) as entries:
            async for entry in entries:
                if isinstance(entry, TurnRecord):
                    break
                found[:0] = await self._items_of(entry)
        return found

    async def has_context(self) -> bool:
        """Whether anything was said since the context began, or is now."""
        return bool(self.log.unfinished) or await self.last_turn() is not None

    async def last_turn(self) -> TurnRecord | None:
        """The turn that the context ends with; None where it is empty."""
        async with aclosing(self.entries(is_newest_first=True)) as entries:
            async for entry in entries:
                if isinstance(entry, TurnRecord):
                    return None if entry.is_past else entry
        return None

    async def item(self, item_id: str) -> Item:
        """The item of this id.

        Raises:
            ItemNotFound: there is none here, or it was deleted.
        """
        key = key_of_item(item_id)
        if key is None:
            raise ItemNotFound(item_id)
        async with aclosing(self.entries(is_newest_first=True)) as entries:
            async for entry in entries:
                if key_of_entry(self.session.session_id, entry) == key:
                    for item in await self._items_of(entry):
                        if item["id"] == item_id:
                            return item
        raise ItemNotFound(item_id)

    async def messages_of(self, items: Sequence[Item]) -> tuple[Message, ...]:
        """Items that are to follow, as messages; results with the names of tools that the latest entries call."""
        if not has_results(items):
            return messages_of(items)
        latest = await self._items_of_window(max(0, self.log.num_entries - WINDOW))
        return messages_of(items, names_in(messages_of(latest)))

    async def idle(self) -> None:
        """Wait until the turns that run or wait have ended; where the last of them is undecided, until it has begun."""
        if self.log.unfinished:
            with suppress(GreenroomError):
                stream = await self.session.resume(self.log.unfinished[-1], 0)
                if self.log.is_decided:
                    async for _ in frames_of(stream):
                        pass

    async def again(self) -> Conversation:
        """The same as it is now.

        Raises:
            ConversationNotFound: it was deleted.
        """
        return await _conversation(self.models, self.id, self.session)

    async def entries(self, is_newest_first: bool = False) -> AsyncGenerator[Entry]:
        """The entries of the log, as they are asked for."""
        starts = range(0, self.log.num_entries, WINDOW)
        for start in reversed(starts) if is_newest_first else starts:
            window = await self._window(start)
            for entry in reversed(window) if is_newest_first else window:
                yield entry

    async def _window(self, start: int) -> tuple[Entry, ...]:
        stop = min(start + WINDOW, self.log.num_entries)
        return (await self.session.log(start, stop)).entries

    async def _items_of_window(self, start: int) -> list[Item]:
        """Those of ``WINDOW`` entries, read side by side."""
        read = await asyncio.gather(*map(self._items_of, await self._window(start)))
        return [item for items in read for item in items]

    async def _items_of(self, entry: Entry) -> list[Item]:
        return [item for item in await self._reader.items(entry) if item["id"] not in self.log.hidden]

    @property
    def _reader(self) -> EntryReader:
        return EntryReader(self.models, self.session, self.log.model, self.has_scores)


async def find_conversation(cluster: Cluster, conversation_id: str, owner: str) -> Conversation:
    """The conversation of this id.

    Raises:
        ConversationNotFound: there is none, or it is another owner's.
    """
    session_id = session_of_conversation(conversation_id)
    if session_id is None:
        raise ConversationNotFound(conversation_id)
    try:
        session = await cluster.session(session_id, owner)
    except SessionNotFound:
        raise ConversationNotFound(conversation_id) from None
    return await _conversation(Models(cluster), conversation_id, session)


async def _conversation(models: Models, conversation_id: str, session: SessionHandle) -> Conversation:
    try:
        log = await session.log(0, 0)
    except SessionNotFound:
        raise ConversationNotFound(conversation_id) from None
    if log.is_delisted:
        raise ConversationNotFound(conversation_id)
    return Conversation(conversation_id, session, log, models)
