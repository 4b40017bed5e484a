"""What the toy model must say in a chat, worked out from its definition without a cluster or a server."""

from __future__ import annotations

from api.turns import Message
from tests.api.toy_model import encode_prompt, letters


def chat_ids(*messages: tuple[str, str]) -> list[int]:
    """Token ids of messages, (role, content) each."""
    ids: list[int] = []
    for role, content in messages:
        ids.extend(encode_prompt([Message(role, content)], is_first=not ids))  # type: ignore[arg-type]
    return ids


def continuation(context: list[int], num_tokens: int) -> str:
    """The text of the next tokens after a context."""
    ids = list(context)
    for _ in range(num_tokens):
        ids.append(letters(ids))
    return bytes(ids[len(context) :]).decode()
