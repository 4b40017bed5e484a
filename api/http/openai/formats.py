"""``response_format``: what the answer's text is held to."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from api.constraints import Constraint, JsonSchema
from api.errors import InvalidRequest
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient

MAX_OBJECT_DEPTH = 8
"""Of the objects and arrays of a ``json_object``, which no schema bounds."""


class SchemaFormat(Lenient):
    """``json_schema`` of a response format."""

    name: str | None = None
    body: dict[str, Any] | bool | None = Field(default=None, alias="schema")


class ResponseFormat(Lenient):
    """``response_format``."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None

    def constraint(self) -> Constraint | None:
        """The same for the engine; None for free text.

        Raises:
            InvalidField: a schema is missing, or cannot be.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return any_object()
        if self.json_schema is None or self.json_schema.body is None:
            raise InvalidField("response_format.json_schema needs a schema", "response_format")
        try:
            return JsonSchema(json.dumps(self.json_schema.body, allow_nan=False))
        except InvalidRequest as error:
            raise InvalidField(str(error), "response_format") from None
        except ValueError:
            raise InvalidField("the schema has a number that is not finite", "response_format") from None


def any_object() -> JsonSchema:
    """Any JSON object, of a bounded depth."""
    plain = {"type": ["string", "number", "boolean", "null"]}
    levels: dict[str, Any] = {"1": plain}
    for depth in range(2, MAX_OBJECT_DEPTH + 1):
        inner = {"$ref": f"#/$defs/{depth - 1}"}
        levels[str(depth)] = {"anyOf": [plain, {"type": "array", "items": inner}, _object_of(inner)]}
    return JsonSchema(json.dumps({"$defs": levels, **_object_of({"$ref": f"#/$defs/{MAX_OBJECT_DEPTH}"})}))


def _object_of(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}
