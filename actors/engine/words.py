"""Errors of other packages in one sentence."""

from __future__ import annotations

from api.errors import reason_of

_LONGEST = 300


def sentence_of(error: BaseException) -> str:
    """What an error says, on one line, and its class where that is what it is about."""
    text = " ".join(reason_of(error).split())
    if isinstance(error, KeyError) and error.args:
        text = f"{error.args[0]!r} is missing, or not known"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
