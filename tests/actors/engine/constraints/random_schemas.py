"""Random schemas of tools' arguments, of the keywords that are held."""

from __future__ import annotations

import json
import random
from typing import Any

_NAMES = ("city", "days", "unit", "é ö", 'quo"te', "a.b", "x", "is_new", "tags", "deep")
_LEAVES: tuple[dict[str, Any], ...] = (
    {"type": "boolean"},
    {"type": "null"},
    {"type": "integer", "minimum": -20, "maximum": 300},
    {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "string", "maxLength": 6},
    {"type": "string", "minLength": 2, "maxLength": 4},
    {"type": "string", "pattern": "^[a-z]{2,4}(-[0-9])?$"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "uuid"},
    {"enum": ["celsius", "fahrenheit", None, 3]},
    {"const": {"fixed": [1, "two"]}},
    {"type": ["string", "null"], "maxLength": 3},
)


def random_schema(draw: random.Random, depth: int = 2) -> dict[str, Any]:
    """A schema of an object."""
    names = draw.sample(_NAMES, draw.randint(0, 4))
    schema: dict[str, Any] = {"type": "object", "properties": {name: _value(draw, depth) for name in names}}
    if draw.random() < 0.8:
        schema["required"] = [name for name in names if draw.random() < 0.7]
    if draw.random() < 0.5:
        schema["additionalProperties"] = False
    return schema


def _value(draw: random.Random, depth: int) -> dict[str, Any]:
    kind = draw.random()
    if depth == 0 or kind < 0.6:
        return draw.choice(_LEAVES)
    if kind < 0.75:
        return {"type": "array", "items": _value(draw, depth - 1), "maxItems": draw.randint(1, 3)}
    if kind < 0.85:
        return {"anyOf": [_value(draw, 0), {"type": "null"}]}
    return random_schema(draw, depth - 1)


def random_schema_text(seed: int) -> str:
    """The schema of this number, as JSON text."""
    return json.dumps(random_schema(random.Random(seed)))
