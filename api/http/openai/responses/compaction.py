"""``POST /v1/responses/compact``: what was said as one item, to be sent in its place.

The item holds the messages of users, developers and the system, and what the assistant said to them. Calls, their
results and reasoning are left out, and the oldest messages, until the rest takes half of the context at most.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from api.cluster import Cluster
from api.errors import LengthExceeded
from api.http.openai.envelope import InvalidField
from api.http.openai.responses.draft import SYSTEM_ROLES, Draft, newest_of
from api.http.openai.responses.ids import new_response_id
from api.http.openai.responses.items import compaction, messages_of
from api.http.openai.responses.resource import Usage
from api.turns import Message, Stop, TurnRequest, TurnStart


async def compact(cluster: Cluster, draft: Draft, before: Sequence[Message], owner: str) -> dict[str, Any]:
    """What was said before, and the draft's input, compacted, as its client sees it.

    Raises:
        InvalidField: nothing was said.
        LengthExceeded: the last message alone does not fit.
    """
    said = (*before, *messages_of(draft.items))
    kept = [Message(one.role, one.content) for one in said if one.role != "tool" and one.content]
    if not kept:
        raise InvalidField("there is nothing to compact", "input")
    start, fitting = await _fitting(cluster, draft, newest_of(kept, draft.model.max_context_tokens), owner)
    return {
        "id": new_response_id(),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [compaction(fitting)],
        "output_text": "\n".join(f"{message.role}: {message.content}" for message in fitting),
        "usage": Usage(len(start.prompt_ids), 0, 0, 0).view(),
    }


async def _fitting(
    cluster: Cluster, draft: Draft, kept: Sequence[Message], owner: str
) -> tuple[TurnStart, Sequence[Message]]:
    """Those that fit, and the beginning of a turn that they are the prompt of."""
    limit = draft.model.max_context_tokens
    room = limit // 2
    while True:
        prompt = (*draft.opening, *kept)
        request = TurnRequest(uuid4().hex, prompt, stop=Stop(max_tokens=1), max_context=room, tools=draft.tools)
        try:
            stream = await cluster.generate(draft.model.name, request, owner)
        except LengthExceeded as error:
            shorter = _without_oldest(kept, 1 - error.maximum / error.num_current)
            if len(shorter) == len(kept) and room == limit:
                raise
            room = limit if len(shorter) == len(kept) else room
            kept = shorter
        else:
            await stream.cancel()
            return stream.start, kept


def _without_oldest(messages: Sequence[Message], share: float) -> Sequence[Message]:
    """The messages without the oldest ones that make this share of them, but for the system's and the last one."""
    num_left = share * sum(len(message.content) for message in messages)
    kept = []
    for number, message in enumerate(messages):
        if message.role in SYSTEM_ROLES or num_left <= 0 or number == len(messages) - 1:
            kept.append(message)
        else:
            num_left -= len(message.content)
    return kept
