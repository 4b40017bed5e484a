"""Bodies of requests and messages: read, and refused in one sentence that names the field.

JSON types are strict (``"0.7"`` is no number) and unknown fields are refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from api.errors import InvalidRequest
from api.tools import MAX_NAME

ToolName = Annotated[str, Field(max_length=MAX_NAME)]
"""Of a tool that is called, or that answers."""


def _leave_early(schema: Any) -> None:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list | tuple) else ()
    if isinstance(schema, dict) and schema.get("type") in ("list", "tuple", "dict"):
        schema["fail_fast"] = True
    for part in parts:
        _leave_early(part)


MAX_ERRORS = 1_000

MAX_CONTAINERS = 100_000
"""Lists and objects in what is read at once. Where they are wrong, pydantic makes a Python object of each: 8 MiB of
them would take seconds and a gigabyte.
"""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""One that does not end goes to the end: else each quote in it would be tried as a beginning."""


class FirstError(BaseModel):
    """What is read of a stranger: a list or a mapping is left at its first element that is wrong.

    Pydantic would go on, and make an error for each of a million elements, of which one is told.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        _leave_early(handler.resolve_ref_schema(schema))
        return schema


class Body(FirstError):
    """What every body has in common: immutable, strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyBody = TypeVar("AnyBody", bound=BaseModel)


def bounded(data: str | bytes) -> bytes:
    """JSON, as it is.

    Raises:
        InvalidRequest: it has more than ``MAX_CONTAINERS``.
    """
    data = data if isinstance(data, bytes) else data.encode()
    if _num_opened(data) > MAX_CONTAINERS and _num_opened(_STRING.sub(b"", data)) > MAX_CONTAINERS:
        raise InvalidRequest(f"JSON with more than {MAX_CONTAINERS:,} lists and objects is not read")
    return data


def _num_opened(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def parse_body(kind: type[AnyBody], data: bytes) -> AnyBody:
    """Read a request body; an empty one is ``{}``.

    Raises:
        InvalidRequest: not JSON, or not as the schema says; names the field.
    """
    try:
        return kind.model_validate_json(bounded(data) or b"{}")
    except ValidationError as error:
        raise InvalidRequest(sentence_about(error)) from None


def first_of(error: ValidationError) -> Any:
    """The first thing that is wrong, in pydantic's words.

    Raises:
        InvalidRequest: there is too much of it, such as fields that are not known; pydantic tells all or nothing.
    """
    if error.error_count() > MAX_ERRORS:
        raise InvalidRequest(f"{error.error_count()} of its fields are unknown or wrong")
    return error.errors(include_url=False, include_input=False, include_context=False)[0]


def sentence_about(error: ValidationError) -> str:
    """The first thing that is wrong, with its field and without pydantic's vocabulary around it."""
    first = first_of(error)
    tags = ("generate", "resume", "cancel", "typing", "ping")
    field = ".".join(str(step) for position, step in enumerate(first["loc"]) if position or step not in tags)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "no such field"
    return f"{field}: {message}" if field else message
