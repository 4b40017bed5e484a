"""The title of a conversation, made from its first message."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from api.turns import Earlier, Message, Part, Text

MAX_CHARS = 60


def title_of(prompt: Iterable[Part]) -> str:
    """The first line of the user's first words, shortened; "" where there are none.

    Without control characters and those that change the direction of what follows: a title is shown among others' text.
    """
    for part in prompt:
        match part:
            case Text(words) | Message("user", words):
                title = _first_line(words)
            case Earlier(messages=messages):
                title = title_of(messages)
            case _:
                title = ""
        if title:
            return title
    return ""


def _first_line(text: str) -> str:
    for line in text.splitlines():
        visible = "".join(" " if unicodedata.category(one) in ("Cc", "Cf", "Cs") else one for one in line)
        words = " ".join(visible.split())
        if words:
            return words if len(words) <= MAX_CHARS else words[: MAX_CHARS - 1].rstrip() + "…"
    return ""
