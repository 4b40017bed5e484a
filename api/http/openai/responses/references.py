"""Items that a client only names: of its conversations, and of its stored responses' inputs and outputs, those of
agents too."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import groupby

from api.cluster import Cluster
from api.errors import SessionNotFound, TooLarge, TurnNotFound
from api.http.openai.agents.response_ids import AgentResponse
from api.http.openai.agents.response_reading import items_in
from api.http.openai.responses.conversation import Conversation, find_conversation
from api.http.openai.responses.entries import EntryReader, key_of_entry
from api.http.openai.responses.errors import ConversationNotFound, ItemNotFound, ResponseNotFound
from api.http.openai.responses.ids import conversation_id, key_of_item, response_of_key, session_of_item
from api.http.openai.responses.items import Item, num_item_chars
from api.http.openai.responses.models import Models
from api.http.openai.responses.stored import stored_of


async def resolved(cluster: Cluster, owner: str, entries: Iterable[Item | str], max_chars: int) -> list[Item]:
    """These items, with those of the ids among them; what one response or one edit holds is read once.

    Raises:
        ItemNotFound: there is none of this id, or it is another owner's.
        TooLarge: they have more than ``max_chars`` characters.
    """
    room, read = _Room(max_chars, max_chars), list[Item | str]()
    for entry in entries:
        if not isinstance(entry, str):
            room.take(entry)
        read.append(entry)
    times = Counter(entry for entry in read if isinstance(entry, str))
    found: dict[str, Item] = {}
    async with aclosing(_items_of(cluster, owner, times)) as items:
        async for item in items:
            room.take(item, times[item["id"]])
            found[item["id"]] = item
    return [found[entry] if isinstance(entry, str) else entry for entry in read]


@dataclass(slots=True)
class _Room:
    """Characters that may still come, of ``max_chars``."""

    max_chars: int
    num_chars: int

    def take(self, item: Item, times: int = 1) -> None:
        """An item is told this number of times."""
        self.num_chars -= times * num_item_chars([item])
        if self.num_chars < 0:
            raise TooLarge(f"the items have more than {self.max_chars} characters")


async def _items_of(cluster: Cluster, owner: str, item_ids: Iterable[str]) -> AsyncGenerator[Item]:
    """The items of these ids, those of one session, or of one response of an agent, beside each other."""
    models = Models(cluster)
    by_key = sorted(item_ids, key=lambda item_id: (_holder_of(item_id), key_of_item(item_id) or ""))
    for _, of_one in groupby(by_key, _holder_of):
        wanted = dict.fromkeys(of_one)
        try:
            async with aclosing(_items_beside(cluster, owner, models, list(wanted))) as items:
                async for item in items:
                    if item["id"] in wanted:
                        del wanted[item["id"]]
                        yield item
                    if not wanted:
                        break
        except (ConversationNotFound, ResponseNotFound, SessionNotFound):
            pass
        if wanted:
            raise ItemNotFound(next(iter(wanted)))


def _holder_of(item_id: str) -> str:
    """The session that an item was said in, or the response of an agent; "" where this is no id of an item."""
    return str(AgentResponse.of_item(item_id) or session_of_item(item_id) or "")


async def _items_beside(cluster: Cluster, owner: str, models: Models, item_ids: Sequence[str]) -> AsyncGenerator[Item]:
    """These items, which are of one session or of one response of an agent, and others beside them."""
    if response := AgentResponse.of_item(item_ids[0]):
        hidden, found = frozenset[str](), items_in(cluster.agents, owner, response)
    else:
        session_id = session_of_item(item_ids[0]) or ""
        conversation = await find_conversation(cluster, conversation_id(session_id), owner)
        hidden, found = conversation.log.hidden, _items_in(conversation, models, item_ids)
    async with aclosing(found) as items:
        async for item in items:
            if item["id"] not in hidden:
                yield item


async def _items_in(conversation: Conversation, models: Models, item_ids: Sequence[str]) -> AsyncGenerator[Item]:
    """The items of each response, edit and turn of a session that one of these is of, once it has ended."""
    session, others = conversation.session, set[str | None]()
    reader = EntryReader(models, session, conversation.log.model)
    for key, _ in groupby(item_ids, key_of_item):
        try:
            stored = stored_of(models, session, await session.turn(response_of_key(key or "")))
        except TurnNotFound:
            others.add(key)
            continue
        stored = await stored.ended()
        for item in (*stored.note.items, *await stored.output()):
            yield item
    async with aclosing(conversation.entries(is_newest_first=True)) as entries:
        while others and (entry := await anext(entries, None)):
            if (key := key_of_entry(session.session_id, entry)) in others:
                others.remove(key)
                for item in await reader.items(entry):
                    yield item
