"""Arguments that are written one by one, each under a schema of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.errors import InvalidRequest

MAX_RULES_CHARACTERS = 1_000_000
"""Of one tool, whose definitions are written again for each argument that leads to them."""


class Rules:
    """The rules of a tool's arguments in a grammar's language, as long as they are not too long."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._num_characters = 0

    def add(self, *lines: str) -> None:
        """These as well.

        Raises:
            InvalidRequest: they are too long, all together.
        """
        self._lines += lines
        self._num_characters += sum(map(len, lines))
        if self._num_characters > MAX_RULES_CHARACTERS:
            raise InvalidRequest("it is too large, with the definitions that each argument refers to")

    def after(self, arguments: str) -> str:
        """What follows the name of the rule of all arguments, and these rules."""
        return "\n".join([arguments, *self._lines])


def standing_alone(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one argument, with those definitions of a closed schema that it leads to."""
    definitions, found = root.get("$defs", {}), dict[str, Any]()
    unread = [schema]
    while unread:
        part = unread.pop()
        if isinstance(part, list):
            unread += part
        elif isinstance(part, dict):
            unread += part.values()
            pointer = part.get("$ref")
            name = pointer.removeprefix("#/$defs/") if isinstance(pointer, str) else ""
            if name in definitions and name not in found:
                found[name] = definitions[name]
                unread.append(found[name])
    return {"$defs": found, "allOf": [schema]}
