"""The keys of streams in the journal."""

from __future__ import annotations

SESSION, INFERLET = "session", "inferlet"
"""The kinds of occupants of an actor of a pool."""

PROMPT_KEY = "prompt-key"
"""The kind of a stream without records that says what an idempotency key was used for."""


def journal_key(kind: str, tenant_id: str) -> str:
    """The key of its stream in the journal."""
    return tenant_id if kind == SESSION else f"{kind}/{tenant_id}"


def parse_journal_key(key: str) -> tuple[str, str]:
    """The kind and the id that ``journal_key`` was given."""
    kind, slash, tenant_id = key.partition("/")
    return (kind, tenant_id) if slash else (SESSION, key)
