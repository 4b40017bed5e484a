"""Arguments that a model writes as one parameter after another, as the JSON that they stand for."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any, Literal

from api.answers.formats import ParameterFormat
from api.answers.pointers import target
from api.answers.quotes import quoted

Kind = Literal["text", "text or null", "json", "any"]
"""How a parameter's text is read: as it is; as it is but for ``null``; as JSON; as JSON where it is that."""

TYPES = frozenset(("string", "number", "integer", "boolean", "null", "array", "object"))
_NAMES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}
_SILENT = frozenset(("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"))
_MAX_DEPTH = 64
_MAX_PARTS = 1_000
"""Alternatives and the like within the schema of one parameter; where it has more, they count as unknown."""


def parameter_kind(name: str, schema: Any) -> Kind:
    """How a parameter of this name is read, in a tool whose arguments have this schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or name not in properties:
        return _kind(schema.get("additionalProperties", True) if isinstance(schema, dict) else True, schema)
    return _kind(properties[name], schema)


def _kind(schema: Any, root: Any) -> Kind:
    if isinstance(schema, bool) or (isinstance(schema, dict) and schema.keys() <= _SILENT):
        return "any"
    types = _Types(root).of(schema)
    if "string" not in types:
        return "json"
    return "text or null" if "null" in types else "text"


class _Types:
    """The types of values that schemas within one root let through, or more: all where one refers to itself."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[int, frozenset[str]] = {}
        self._num_parts = 0

    def of(self, schema: Any, depth: int = 0) -> frozenset[str]:
        if schema is False:
            return frozenset()
        if not isinstance(schema, dict) or depth > _MAX_DEPTH:
            return TYPES
        if id(schema) not in self._known:
            self._known[id(schema)] = TYPES
            self._known[id(schema)] = self._found(schema, depth + 1)
        return self._known[id(schema)]

    def _found(self, schema: dict[str, Any], depth: int) -> frozenset[str]:
        found = TYPES
        if "$ref" in schema:
            with suppress(LookupError):
                found &= self.of(target(schema["$ref"], self._root), depth)
        if "const" in schema:
            found &= {_NAMES.get(type(schema["const"]), "null")}
        if isinstance(schema.get("enum"), list):
            found &= {_NAMES.get(kind, "null") for kind in set(map(type, schema["enum"]))}
        if "type" in schema:
            names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            found &= {name for name in names if isinstance(name, str)} or TYPES
        elif isinstance(schema.get("properties"), dict):
            found &= {"object"}
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found &= frozenset[str]().union(*self._several(schema[keyword], depth))
        return found.intersection(*self._several(schema.get("allOf"), depth))

    def _several(self, parts: Any, depth: int) -> list[frozenset[str]]:
        self._num_parts += len(parts) if isinstance(parts, list) else 0
        if not isinstance(parts, list) or self._num_parts > _MAX_PARTS:
            return [TYPES]
        return [self.of(part, depth) for part in parts]


class ParameterReader:
    """Reads the parameters of one call.

    Args:
        format: with the symbols that the text has for marks.
        schema: of the arguments.

    Attributes:
        is_complete: the call has ended.
    """

    def __init__(self, format: ParameterFormat, schema: Any) -> None:
        self._format = format
        self._schema = schema
        self._opening = re.compile(f"{re.escape(format.head)}(.+?){re.escape(format.middle)}", re.DOTALL)
        self._is_first = True
        self._kind: Kind | None = None
        self._held = ""
        self.is_complete = False

    def read(self, text: str) -> tuple[str, int]:
        """What the text adds to the JSON, and how many of its characters were read."""
        written, place = "", 0
        while not self.is_complete:
            more, num_read = self._between(text[place:]) if self._kind is None else self._value(text[place:])
            written, place = written + more, place + num_read
            if not num_read:
                break
        return written, place

    def _between(self, text: str) -> tuple[str, int]:
        head = self._format.head
        if head.startswith(text):
            return "", 0
        if not text.startswith(head):
            self.is_complete = True
            return "{}" if self._is_first else "}", 0
        found = self._opening.match(text)
        if found is None:
            return "", 0
        self._kind, self._held = parameter_kind(found[1], self._schema), ""
        before, self._is_first = "{" if self._is_first else ", ", False
        return f"{before}{quoted(found[1])}: {_quote(self._kind)}", found.end()

    def _value(self, text: str) -> tuple[str, int]:
        tail = self._format.tail
        end = text.find(tail)
        value = text[: len(text) - num_common(text, tail)] if end < 0 else text[:end]
        if self._kind == "text":
            more = quoted(value)[1:-1]
        else:
            more, self._held = "", self._held + value
        if end < 0:
            return more, len(value)
        assert self._kind is not None, "a value is read"
        more += _quote(self._kind) or _written(self._held, self._kind)
        self._kind = None
        return more, end + len(tail)


def num_common(text: str, mark: str) -> int:
    """How many characters at the end of a text are the beginning of a mark."""
    return next((number for number in range(min(len(mark), len(text)), 0, -1) if mark.startswith(text[-number:])), 0)


def _quote(kind: Kind) -> str:
    return '"' if kind == "text" else ""


def _written(text: str, kind: Kind) -> str:
    """A value's JSON; what is none where it should be is a string."""
    if kind == "text or null":
        return text if text == "null" else quoted(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return quoted(text)
    return quoted(text) if kind == "any" and isinstance(value, str) else text.strip()
