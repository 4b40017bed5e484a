"""Arguments that are written one by one, each under a schema of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.errors import InvalidRequest

WHERE = "where a model writes arguments one by one"
_KNOWN = {"type", "properties", "required", "additionalProperties", "patternProperties", "minProperties"}
MAX_FREE = 16
"""Arguments whose names the model makes up."""
MAX_RULES_CHARACTERS = 1_000_000
"""Of one tool, whose definitions are written again for each argument that leads to them."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a schema says of arguments, in its order.

    Attributes:
        named: the schema of each that there might be.
        free: the schema of each where the model makes up their names; None where it does not.
    """

    named: Mapping[str, Any]
    required: frozenset[str]
    free: Any

    @classmethod
    def of(cls, closed: Mapping[str, Any], is_wrong: Callable[[str], bool]) -> Arguments:
        """Those of a closed schema.

        Args:
            is_wrong: whether an argument cannot have this name.

        Raises:
            InvalidRequest: what it says of all arguments together cannot be held.
        """
        root = closed["allOf"][0]
        required, named = root.get("required", ()), root.get("properties", {})
        properties = named | {name: True for name in required if name not in named}
        if unknown := sorted(root.keys() - _KNOWN):
            raise InvalidRequest(f'"{unknown[0]}" is not supported for all arguments together {WHERE}')
        if root.get("minProperties", 0) > len(required):
            raise InvalidRequest(f'"minProperties" beyond those that are required is not supported {WHERE}')
        if wrong := [name for name in properties if is_wrong(name)]:
            raise InvalidRequest(f"an argument called {wrong[0]!r:.60} is not supported {WHERE}")
        possible = {name: value for name, value in properties.items() if value is not False or name in required}
        return cls(possible, frozenset(required), None if properties else _free(root))


def _free(root: Mapping[str, Any]) -> Any:
    patterns = root.get("patternProperties", {})
    found = next(iter(patterns.values()), root.get("additionalProperties", False))
    return None if found is False else found


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
