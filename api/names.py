"""What a name of a user's own choice may be: of a topic, a queue, a kept value, an exported context, an inferlet."""

from __future__ import annotations

import unicodedata

from api.errors import InvalidRequest

MAX_NAME_CHARS = 256


def check_name(what: str, name: str) -> None:
    """Whether it is one.

    Raises:
        InvalidRequest: a name is text of 1 to 256 characters, none of them a control character; says of ``what``.
    """
    if not isinstance(name, str):
        raise InvalidRequest(f"{what} is text, not {type(name).__name__}")
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InvalidRequest(f"{what} has 1 to {MAX_NAME_CHARS} characters, this one {len(name)}")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidRequest(f"{what} has no control characters")
