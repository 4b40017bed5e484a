"""What a name of a user's own choice may be: of a topic, a queue, a kept value, an exported context, an inferlet."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from api.errors import InvalidRequest

PUBLIC = "public/"
"""Topics whose names begin so belong to everybody."""


@dataclass(frozen=True, slots=True)
class TopicId:
    """The name of a topic or a queue, and whose it is; public ones are nobody's, and equal for all who name them.

    Raises:
        InvalidRequest: a name has 1 to 256 characters, none of them a control character.
    """

    name: str
    owner: str = ""

    def __post_init__(self) -> None:
        check_name("a topic's name", self.name)
        if self.is_public:
            object.__setattr__(self, "owner", "")

    @property
    def is_public(self) -> bool:
        """Whether it belongs to everybody."""
        return self.name.startswith(PUBLIC)


@dataclass(frozen=True, slots=True)
class MessageKey:
    """What makes publishing or pushing safe to repeat: a topic takes a publisher's number once.

    The numbers of one publisher grow within a topic; what is not above its last one has been published before.
    """

    publisher: str
    number: int


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
