"""Ids of responses and of what belongs to them: opaque to clients; a stored one's names its session."""

from __future__ import annotations

import hashlib
import re
import secrets
from uuid import uuid4

_RESPONSE, _CONVERSATION = re.compile(r"resp_([0-9a-f]{32})[0-9a-f]{16}"), re.compile(r"conv_([0-9a-f]{32})")
_ITEM = re.compile(r"[a-z]+_([0-9a-f]{48})_([io])([0-9]{1,6})")
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}


def new_response_id(session_id: str | None = None) -> str:
    """An id for a response that is a turn of this session, or of none."""
    return f"resp_{session_id or uuid4().hex}{secrets.token_hex(8)}"


def session_of_response(response_id: str) -> str | None:
    """The session whose turn it is, if it is stored; None where this is no id of a response."""
    found = _RESPONSE.fullmatch(response_id)
    return found[1] if found else None


def key_of_response(response_id: str) -> str:
    """What the ids of its items have in common."""
    return response_id.removeprefix("resp_")


def response_of_key(key: str) -> str:
    """The response whose items' ids have this key."""
    return f"resp_{key}"


def conversation_id(session_id: str) -> str:
    """The id of the conversation that this session is."""
    return f"conv_{session_id}"


def session_of_conversation(found_id: str) -> str | None:
    """The session that it is; None where this is no id of a conversation."""
    found = _CONVERSATION.fullmatch(found_id)
    return found[1] if found else None


def input_item_id(response_id: str, kind: str, number: int) -> str:
    """The id of an item of a response's input."""
    return f"{_PREFIXES[kind]}_{key_of_response(response_id)}_i{number}"


def output_item_id(response_id: str, kind: str, number: int) -> str:
    """The id of an item of its output, the same on every reading."""
    return f"{_PREFIXES[kind]}_{key_of_response(response_id)}_o{number}"


def new_addition_id(session_id: str) -> str:
    """An id for an edit that adds items to a conversation."""
    return session_id + secrets.token_hex(8)


def response_of_turn(session_id: str, turn_id: str) -> str:
    """The response id from which the ids of a turn's items are made that no response made."""
    return f"resp_{session_id}{hashlib.blake2b(turn_id.encode(errors='replace'), digest_size=8).hexdigest()}"


def call_ids(response_id: str) -> str:
    """What the ids of its calls begin with; a number follows."""
    return f"call_{key_of_response(response_id)}_"


def key_of_item(item_id: str) -> str | None:
    """What the ids of items of one response, or added at one time, have in common; None where this is no such id."""
    found = _ITEM.fullmatch(item_id)
    return found[1] if found else None


def session_of_item(item_id: str) -> str | None:
    """The session that it was said in, or added to; None where this is no id of an item."""
    key = key_of_item(item_id)
    return key[:32] if key else None
