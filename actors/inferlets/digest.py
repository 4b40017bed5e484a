"""Digests of a program's calls: a replayed call is the recorded one where both have the same digest.

The digest is of a canonical text of the effect. In the format that is written now that text leaves out every field at
its default, so that a new optional field changes no digest. Format 0 wrote the ``repr`` of the effect.
"""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from api.inferlet.context_effects import NextPiece
from api.inferlet.effects import Effect

FORMAT = 1
"""The format of new streams; the first record of a stream says its own, and older ones can be read."""

_ADDED_SINCE_0 = {
    *(("Turn", "adapter"), ("Prefix", "adapter"), ("Encode", "tools")),
    *(("Message", "reasoning"), ("Message", "tool_calls"), ("Message", "tool_call_id"), ("Message", "name")),
    *(("TurnRequest", "tools"), ("TurnRequest", "tool_choice"), ("TurnRequest", "parallel_tool_calls")),
    *(("TurnRequest", "note"), ("TurnRequest", "drops_oldest"), ("TurnRequest", "embedding")),
    *(("Sampling", "raw_logprobs"), ("BeginningOfText", "if_usual")),
}
"""Fields that format 0 leaves out at their default; a field that is added to an effect in that format joins them."""


def digest(effect: Effect[Any], stream_format: int) -> str:
    """The digest of an effect in a stream of this format: 16 hexadecimal digits."""
    text = _text(effect, stream_format).encode(errors="replace")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def _text(value: object, stream_format: int) -> str:
    if isinstance(value, NextPiece):  # its long fields follow from these
        return f"NextPiece({value.turn.context_id}, {value.turn.request.turn_id}, {len(value.delivered.ids)})"
    if is_dataclass(value):
        name = type(value).__name__
        shown = (
            f"{field.name}={_text(getattr(value, field.name), stream_format)}"
            for field in fields(value)
            if not _is_left_out(name, field, getattr(value, field.name), stream_format)
        )
        return f"{name}({', '.join(shown)})"
    if isinstance(value, tuple):
        items = [_text(item, stream_format) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    return repr(value)


def _is_left_out(name: str, field: Field[Any], value: object, stream_format: int) -> bool:
    if stream_format == 0 and (name, field.name) not in _ADDED_SINCE_0:
        return False
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default is not MISSING and bool(value == default)
