"""The entries of a session's log as items, and as messages for the model."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from api.cluster import Edit, SessionHandle, TurnRecord
from api.http.openai.messages import ContentPart
from api.http.openai.responses.draft import Note
from api.http.openai.responses.ids import key_of_response, response_of_turn
from api.http.openai.responses.items import InputItem, Item, call_item, messages_of, with_ids
from api.http.openai.responses.models import Models
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.stored import frames_of, stored_of
from api.turns import Message, Part, Text, messages_in

Entry = TurnRecord | Edit

_PLAIN: dict[str, Any] = {"tools": [], "tool_choice": "auto", "background": False, "top_logprobs": 0}
"""The fields of a turn that no response made."""


def key_of_entry(session_id: str, entry: Entry) -> str:
    """What the ids of an entry's items have in common."""
    return entry.edit_id if isinstance(entry, Edit) else key_of_response(_response_of(session_id, entry))


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Reads the entries of one session's log, with log-probabilities where it ``has_scores``.

    ``model`` is that of turns that no response made.
    """

    models: Models
    session: SessionHandle
    model: str
    has_scores: bool = False

    async def items(self, entry: Entry) -> list[Item]:
        """The items of an entry."""
        if isinstance(entry, Edit):
            added: list[Item] = json.loads(entry.addition)
            return added
        response_id = _response_of(self.session.session_id, entry)
        asked = Note.read(entry.note).items if entry.note else with_ids(_plain_items(entry), response_id)
        return [*asked, *await self._output(entry)]

    async def said(self, entry: Entry, hidden: Collection[str]) -> tuple[Part, ...]:
        """What was asked and answered, but for hidden items and for the instructions at the front."""
        if isinstance(entry, Edit) or hidden:
            return messages_of(item for item in await self.items(entry) if item["id"] not in hidden)
        begins = entry.note and entry.base_length == 0
        num_opening = Note.read(entry.note).num_opening if begins else 0
        asked = entry.prompt[entry.num_told :][num_opening:]
        return (*asked, *messages_of(await self._output(entry)))

    async def _output(self, turn: TurnRecord) -> list[Item]:
        if turn.note:
            return await stored_of(self.models, self.session, turn).output(self.has_scores)
        answers, texts = (
            await self.models.answers(self.model),
            self.models.texts(self.model) if self.has_scores else None,
        )
        stream, response_id = await self.session.resume(turn.turn_id, 0), _response_of(self.session.session_id, turn)
        reading = Reading(response_id, _PLAIN, stream.start, frames_of(stream), answers, texts, ended_at=turn.ended_at)
        items: list[Item] = (await reading.whole())["output"]
        return items


async def said_in(models: Models, session: SessionHandle, end: TurnRecord) -> tuple[Message, ...]:
    """All that was said in a session up to the end of a turn, but for the instructions at its front."""
    log = await session.log()
    reader, parts = EntryReader(models, session, log.model), list[Part]()
    for number, entry in enumerate(log.entries):
        if _is_after(entry, end, number < log.num_past):
            break
        parts += await reader.said(entry, log.hidden)
        if isinstance(entry, TurnRecord) and entry.turn_id == end.turn_id:
            break
    return messages_in(parts)


def _is_after(entry: Entry, end: TurnRecord, is_past: bool) -> bool:
    if is_past or (end.is_past and end.error is None):
        return not is_past
    is_later = isinstance(entry, TurnRecord) and entry.base_length >= end.end_length
    return is_later and isinstance(entry, TurnRecord) and entry.turn_id != end.turn_id


def _response_of(session_id: str, turn: TurnRecord) -> str:
    return turn.turn_id if turn.note else response_of_turn(session_id, turn.turn_id)


def _plain_items(turn: TurnRecord) -> list[Item]:
    """What a turn was asked that no response made; token ids are not shown."""
    items: list[Item] = []
    for part in turn.prompt[turn.num_told :]:
        match part:
            case Text(text):
                items.append(InputItem(role="user", content=text).item())
            case Message("assistant"):
                items += _items_of_answer(part)
            case Message("tool", content):
                call_id = part.tool_call_id or turn.turn_id
                items.append(InputItem(type="function_call_output", call_id=call_id, output=content).item())
            case Message(role, content):
                items.append(InputItem(role=role, content=content).item())
    return items


def _items_of_answer(answer: Message) -> list[Item]:
    items = []
    if answer.reasoning:
        thoughts = (ContentPart(type="reasoning_text", text=answer.reasoning),)
        items.append(InputItem(type="reasoning", content=thoughts).item())
    if answer.content or not answer.tool_calls:
        items.append(InputItem(role="assistant", content=answer.content).item())
    return [*items, *(call_item(call.id, call.name, call.arguments) for call in answer.tool_calls)]
