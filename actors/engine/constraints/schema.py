"""JSON schemas, written for llguidance: what no grammar holds is refused by name, what a schema leaves open is closed.

Where a schema is silent, an object has the properties that are named and no others, a string at most 2,048 characters,
an array at most 64 items, an integer at most 15 digits, and a schema that speaks of properties describes an object.
What may be anything has at most eight lists and objects inside each other, and names of at most 64 characters. All of
that is valid under the schema that was given; it keeps a model from writing on to its limit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from actors.engine.constraints.formats import FORMATS
from actors.engine.constraints.regex import full_match, search
from api.answers.parameters import TYPES
from api.answers.pointers import target
from api.errors import InvalidRequest, reason_of

MAX_STRING_LENGTH = 2_048
MAX_ARRAY_ITEMS = 64
MAX_DEPTH = 64
MAX_SILENT_DEPTH = 8
MAX_NUMBER = 10**15
_ANY_NAME = r"^[^\x00-\x1f]{0,64}$"
_MAX_COUNT = 1_000_000
_MAX_STEPS = 100_000
_MAX_NAMES = 500_000
"""Of properties, as often as they are looked for or written: beside alternatives, again in each of them."""
_A_TYPE = f"one of {', '.join(sorted(TYPES))}, or a list of them"

_PLAIN = {"const", "enum", "type", "required"}
_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_COUNTS = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
_SCHEMAS = {"items", "additionalProperties"}
_OBJECTS = {"properties", "patternProperties"}
_LISTS = {"prefixItems", "allOf", "anyOf", "oneOf"}
_OTHERS = {"$ref", "pattern", "format"}
SUPPORTED = frozenset(_PLAIN | _NUMBERS | _COUNTS | _SCHEMAS | _OBJECTS | _LISTS | _OTHERS)
REFUSED = frozenset(
    """$dynamicRef $recursiveRef contains dependencies dependentRequired dependentSchemas disallow
    divisibleBy else extends if maxContains minContains not propertyNames then unevaluatedItems unevaluatedProperties
    uniqueItems""".split()
)
"""Keywords that say what is valid and are not held; others that are unknown say nothing, as the standard has it."""


def closed_schema(text: str, unheld: list[str] | None = None, bounds_texts: bool = True) -> dict[str, Any]:
    """A schema's JSON, checked and rewritten.

    Args:
        unheld: where a keyword that is not held is left out, and why is added here; None refuses it.
        bounds_texts: give strings a length where the schema is silent.

    Raises:
        InvalidRequest: it is malformed, or holds a keyword or a value of one that no grammar here holds.
    """
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
        return _Writer(schema, unheld, bounds_texts).write()
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"it is not JSON: {reason_of(error)}") from None
    except UnicodeEncodeError:
        raise InvalidRequest("its texts have lone surrogates") from None
    except ValueError:
        raise InvalidRequest("its numbers are too large") from None
    except RecursionError:
        raise InvalidRequest(f"it is nested more than {MAX_DEPTH} levels deep") from None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not JSON")


class _Writer:
    """Rewrites one schema, and each target of a ``$ref`` at most twice: closed, and open where others add to it."""

    def __init__(self, schema: Any, unheld: list[str] | None, bounds_texts: bool) -> None:
        self._schema = schema
        self._unheld = unheld
        self._bounds_texts = bounds_texts
        self._written: dict[tuple[str, bool], str] = {}
        self._definitions: dict[str, Any] = {}
        self._num_steps = 0
        self._num_names = 0

    def write(self) -> dict[str, Any]:
        root = self._closed(self._schema, 0)
        return {"$defs": self._definitions, "allOf": [root]} if self._definitions else {"allOf": [root]}

    def _closed(self, schema: Any, depth: int) -> Any:
        return self._rewrite(schema, frozenset(), depth)

    def _rewrite(self, schema: Any, inherited: frozenset[str] | None, depth: int) -> Any:
        """A schema in llguidance's words.

        Args:
            inherited: properties that are named beside it; None where what is beside it closes the object.
        """
        if schema is True and inherited:
            schema = {}
        if isinstance(schema, bool):
            return self._anything() if schema and inherited is not None else schema
        if not isinstance(schema, dict):
            raise InvalidRequest(f"a schema is an object or a Boolean, not {json.dumps(schema):.40}")
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"it is nested more than {MAX_DEPTH} levels deep")
        if depth and "$id" in schema:
            raise InvalidRequest('"$id" is supported at the top only')
        schema = self._supported(_modern(schema))
        names = None if inherited is None or self._is_closed(schema) else inherited | self._names(schema)
        is_only_reference = (schema.keys() & SUPPORTED) == {"$ref"} and not inherited
        divides = names is not None and _divides(schema)
        written: dict[str, Any] = {}
        for keyword, value in schema.items():
            try:
                if keyword == "$ref":
                    written[keyword] = self._reference(value, is_closed=names is not None and is_only_reference)
                elif keyword in ("anyOf", "oneOf"):
                    written[keyword] = self._several(keyword, value, names if divides else None, depth)
                elif keyword == "format":
                    written.setdefault("allOf", []).append(_format(value))
                elif keyword == "allOf":
                    written.setdefault("allOf", []).extend(self._several(keyword, value, None, depth))
                elif keyword in SUPPORTED:
                    written[keyword] = self._keyword(keyword, value, depth)
            except InvalidRequest as error:
                self._leave_out(error)
        _bound(schema, written, self._bounds_texts)
        if names == frozenset():
            self._bound_silence(schema, written)
        speaks = names or any("properties" in part for part in self._parts(schema))
        if names is None or not speaks or divides or is_only_reference:
            return written
        return self._close(schema, written, names)

    def _supported(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema without the keywords that are refused, where these are left out."""
        kept = {}
        for keyword, value in schema.items():
            try:
                if keyword in REFUSED and not (keyword == "uniqueItems" and value is False):
                    raise InvalidRequest(f'"{keyword}" is not supported')
                if keyword == "$ref":
                    self._resolve(value)
                if keyword == "minProperties":
                    self._check_least(schema)
                kept[keyword] = value
            except InvalidRequest as error:
                self._leave_out(error)
        return kept

    def _leave_out(self, error: InvalidRequest) -> None:
        """Go on without what this is about, or raise it."""
        if self._unheld is None:
            raise error
        self._unheld.append(reason_of(error))

    def _keyword(self, keyword: str, value: Any, depth: int) -> Any:
        if keyword == "prefixItems":
            return self._several(keyword, value, frozenset(), depth)
        if keyword in _SCHEMAS:
            return self._closed(value, depth + 1)
        if keyword in _OBJECTS:
            _check(keyword, isinstance(value, dict), "an object")
            write = _searched if keyword == "patternProperties" else str
            return {write(name): self._closed(inner, depth + 1) for name, inner in value.items()}
        return _simple(keyword, value)

    def _several(self, keyword: str, value: Any, names: frozenset[str] | None, depth: int) -> list[Any]:
        _check(keyword, isinstance(value, list) and bool(value), "a list of schemas, not empty")
        return [self._rewrite(inner, names, depth + 1) for inner in value]

    def _bound_silence(self, schema: dict[str, Any], written: dict[str, Any]) -> None:
        """Give what a schema says nothing of the most that it can have."""
        if not schema.keys() & SUPPORTED:
            written.update(self._anything())
        types = schema.get("type")
        types = types if isinstance(types, list) else [types]
        if schema.keys() & {"enum", "const", "$ref", *_LISTS} - {"prefixItems"}:
            return
        if "object" in types and not schema.keys() & {*_OBJECTS, "additionalProperties", "required"}:
            written |= self._any_members(MAX_SILENT_DEPTH)
        if "array" in types:
            written.setdefault("items", self._anything(MAX_SILENT_DEPTH - 1))

    def _anything(self, depth: int = MAX_SILENT_DEPTH) -> dict[str, Any]:
        """A reference to any value of at most ``depth`` lists and objects inside each other."""
        name = f"any{depth}"
        if name not in self._definitions:
            kinds = ["string", "number", "boolean", "null"]
            found: dict[str, Any] = {"type": kinds, "maxLength": MAX_STRING_LENGTH}
            if depth:
                found |= {"type": [*kinds, "array", "object"], "maxItems": MAX_ARRAY_ITEMS}
                found |= {"items": self._anything(depth - 1), **self._any_members(depth)}
            self._definitions[name] = found
        return {"$ref": f"#/$defs/{name}"}

    def _any_members(self, depth: int) -> dict[str, Any]:
        """For an object of at most ``depth`` lists and objects inside each other, itself included."""
        return {"patternProperties": {_ANY_NAME: self._anything(depth - 1)}, "additionalProperties": False}

    def _close(self, schema: dict[str, Any], written: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
        known = written.get("properties", {})
        self._count(names)
        ordered = [name for name in self._ordered(schema) if name not in known] + sorted(names - self._names(schema))
        closing: dict[str, Any] = {"properties": dict.fromkeys(ordered, True), "additionalProperties": False}
        if not any(part.keys() & {"type", "enum", "const", "anyOf", "oneOf"} for part in self._parts(schema)):
            closing["type"] = "object"
        if "allOf" in written or "$ref" in written:
            closing["properties"] = dict.fromkeys([*known, *ordered], True)
            return {"allOf": [written, closing]}
        closing["properties"] = written.get("properties", {}) | closing["properties"]
        return written | closing

    def _check_least(self, schema: dict[str, Any]) -> None:
        """Names that the model makes up might be equal, so they count once."""
        num_required = len({name for part in self._parts(schema) for name in _list(part, "required")})
        least = _simple("minProperties", schema["minProperties"])
        if least > num_required + 1:
            raise InvalidRequest('"minProperties" is supported up to one more than "required" has')

    def _reference(self, pointer: Any, is_closed: bool) -> str:
        target = self._resolve(pointer)
        name = self._written.get((pointer, is_closed))
        if name is None:
            name = self._written[pointer, is_closed] = str(len(self._written))
            self._definitions[name] = None
            self._definitions[name] = self._rewrite(target, frozenset() if is_closed else None, 0)
        return f"#/$defs/{name}"

    def _resolve(self, pointer: Any) -> Any:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            raise InvalidRequest(
                f'"$ref" is supported within the schema only ("#/…"), not to {json.dumps(pointer):.60}'
            )
        try:
            return target(pointer, self._schema)
        except LookupError:
            raise InvalidRequest(f'"$ref" to {json.dumps(pointer):.60} leads nowhere') from None

    def _parts(self, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A schema and all that hold beside it: members of its ``allOf`` and targets of its ``$ref``, and theirs."""
        seen: set[int] = set()
        open_parts: list[Any] = [schema]
        while open_parts:
            part = open_parts.pop(0)
            self._num_steps += 1
            if self._num_steps > _MAX_STEPS:
                raise InvalidRequest("it refers to itself too often")
            if isinstance(part, dict) and id(part) not in seen:
                seen.add(id(part))
                yield part
                open_parts += [self._resolve(part["$ref"])] if "$ref" in part else []
                open_parts += part["allOf"] if isinstance(part.get("allOf"), list) else []

    def _ordered(self, schema: dict[str, Any]) -> list[str]:
        names: dict[str, None] = {}
        for part in self._parts(schema):
            for keyword in ("properties", "required"):
                if isinstance(part.get(keyword), dict | list):
                    names.update((name, None) for name in part[keyword] if isinstance(name, str))
            if part is not schema or not _divides(schema):
                for branch in [*_list(part, "anyOf"), *_list(part, "oneOf")]:
                    names.update(dict.fromkeys(self._ordered(branch) if isinstance(branch, dict) else []))
        self._count(names)
        return list(names)

    def _count(self, names: Collection[str]) -> None:
        self._num_names += len(names)
        if self._num_names > _MAX_NAMES:
            raise InvalidRequest("it has too many properties beside alternatives or references")

    def _names(self, schema: dict[str, Any]) -> frozenset[str]:
        return frozenset(self._ordered(schema))

    def _is_closed(self, schema: dict[str, Any]) -> bool:
        """Whether something says which other properties there are; a closing of ours says nothing to it then."""
        return any(part.keys() & {"additionalProperties", "patternProperties"} for part in self._parts(schema))


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in the words of the 2020 draft."""
    if isinstance(schema.get("items"), list):
        return schema | {"prefixItems": schema["items"], "items": schema.get("additionalItems", True)}
    return schema


def _divides(schema: dict[str, Any]) -> bool:
    """Whether each of its alternatives is closed by itself, rather than all together."""
    return ("anyOf" in schema) != ("oneOf" in schema)


def _simple(keyword: str, value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if keyword in _COUNTS:
        _check(keyword, is_number and 0 <= value <= _MAX_COUNT and value == int(value), f"a count up to {_MAX_COUNT}")
        return int(value)
    if keyword in _NUMBERS:
        _check(keyword, is_number and abs(value) <= MAX_NUMBER, "a number of at most 15 digits")
    elif keyword == "type":
        names = value if isinstance(value, list) else [value]
        _check(keyword, bool(names) and all(isinstance(name, str) and name in TYPES for name in names), _A_TYPE)
    elif keyword == "enum":
        _check(keyword, isinstance(value, list), "a list of values")
    elif keyword == "required":
        _check(keyword, isinstance(value, list) and all(isinstance(name, str) for name in value), "a list of names")
    return _searched(value) if keyword == "pattern" else value


def _format(value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or value not in FORMATS:
        raise InvalidRequest(f'"format" {json.dumps(value):.40} is not supported: {", ".join(sorted(FORMATS))} are')
    return {"pattern": f"^(?:{full_match(FORMATS[value])})$"}


def _searched(pattern: Any) -> str:
    _check("pattern", isinstance(pattern, str), "a string")
    try:
        return f"^(?:{search(pattern)})$"
    except InvalidRequest as error:
        raise InvalidRequest(f'"pattern" {json.dumps(pattern):.60} is not supported: {reason_of(error)}') from None


def _bound(schema: dict[str, Any], written: dict[str, Any], bounds_texts: bool) -> None:
    """Give a string, an array and an integer the most that they can have, where nothing beside says it."""
    types = schema.get("type")
    types = types if isinstance(types, list) else [types]
    if bounds_texts and "string" in types and not schema.keys() & {"enum", "const", "format", "pattern"}:
        written.setdefault("maxLength", max(MAX_STRING_LENGTH, written.get("minLength", 0)))
    if "array" in types and not schema.keys() & {"enum", "const"}:
        least = max(written.get("minItems", 0), len(written.get("prefixItems", ())))
        written.setdefault("maxItems", max(MAX_ARRAY_ITEMS, least))
    if "integer" in types and "number" not in types and not schema.keys() & {"enum", "const"}:
        if "exclusiveMinimum" not in written:
            written.setdefault("minimum", -MAX_NUMBER)
        if "exclusiveMaximum" not in written:
            written.setdefault("maximum", MAX_NUMBER)


def _check(keyword: str, is_right: bool, right: str) -> None:
    if not is_right:
        raise InvalidRequest(f'"{keyword}" must be {right}')


def _list(schema: dict[str, Any], keyword: str) -> list[Any]:
    value = schema.get(keyword)
    return value if isinstance(value, list) else []
