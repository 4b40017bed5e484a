"""The ids of a turn's prompt; where it does not fit, and may be shortened, without its oldest messages."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from api.errors import InvalidRequest, LengthExceeded
from api.tools import Tool
from api.turns import Message, Part, TurnRequest, messages_in

_ANSWER_PART = 4
"""A quarter of the context is left for an answer that may have more than that."""


class PromptTokenizer(Protocol):
    """What a prompt needs of a tokenizer."""

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        """Ids that the parts append to a context whose last ids are given."""
        ...


def prompt_ids(
    tokenizer: PromptTokenizer, request: TurnRequest, base_length: int, last_id: int | None, max_context: int
) -> tuple[int, ...]:
    """Ids that the turn appends to a context of ``base_length`` tokens, of which ``last_id`` is the last.

    Raises:
        InvalidRequest, Unsupported: it cannot be encoded.
        LengthExceeded: it is to be shortened, and the context itself has no room for it.
    """
    tail = () if last_id is None else (last_id,)
    ids = tokenizer.encode_prompt(request.prompt, tail, request.tools)
    limit = max_context if request.max_context is None else min(request.max_context, max_context)
    room = limit - min(request.stop.max_tokens, limit // _ANSWER_PART)
    if not request.drops_oldest or base_length + len(ids) <= room:
        return tuple(ids)
    if base_length:
        raise LengthExceeded(base_length, len(ids), room)
    return tuple(_shortened(tokenizer, request, room) or ids)


def _shortened(tokenizer: PromptTokenizer, request: TurnRequest, room: int) -> list[int] | None:
    """Ids without the oldest messages after the instructions: as many of the newest as fit, and the last one anyway.

    A call's result is not there without the call. None where there are no messages that can be left out.
    """
    messages = messages_in(request.prompt)
    num_front = next((i for i, one in enumerate(messages) if one.role not in ("system", "developer")), len(messages))
    front, said = messages[:num_front], messages[num_front:]
    starts = [start for start, message in enumerate(said) if start and message.role != "tool"]
    starts.reverse()

    def encoded(start: int) -> list[int] | None:
        """None where it does not fit, or the chat template refuses a conversation that begins so."""
        kept: tuple[Message, ...] = (*front, *said[start:])
        with suppress(InvalidRequest):
            ids = tokenizer.encode_prompt(kept, (), request.tools)
            return ids if len(ids) <= room else None
        return None

    num_tried = 1
    while num_tried < len(starts) and encoded(starts[num_tried]) is not None:
        num_tried *= 2
    num_fitting = bisect_left(
        starts, True, num_tried // 2, min(num_tried, len(starts)), key=lambda start: encoded(start) is None
    )
    if not starts:
        return None
    start = starts[max(num_fitting - 1, 0)]
    return encoded(start) or tokenizer.encode_prompt((*front, *said[start:]), (), request.tools)
