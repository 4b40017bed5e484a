"""Parameters of an HTTP call: from the query, and from a body that is a form or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.errors import reason_of
from api.http.petals.failures import BadParameter
from api.http.petals.generation import Generation, read_sampling
from api.http.settings import settings_of

_MAX_FIELDS = 1000
_TRUTHS = {"true": True, "True": True, "false": False, "False": False}

Number = TypeVar("Number", int, float)


class Parameters:
    """Named values as they came: texts, or what JSON makes of them. The query wins over the body, the first wins."""

    def __init__(self, query: dict[str, Any], body: dict[str, Any]) -> None:
        self._values = body | query

    def text(self, name: str) -> str | None:
        """A text; None where it is absent."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise BadParameter("TypeError", f"{name} must be a string, not {type(value).__name__}")
        return value

    def integer(self, name: str) -> int | None:
        """What ``int()`` makes of it, with the error that ``int()`` raises."""
        return self._number(name, int)

    def real(self, name: str) -> float | None:
        """What ``float()`` makes of it, with the error that ``float()`` raises."""
        return self._number(name, float)

    def flag(self, name: str) -> bool:
        """What ``int()`` makes of it, non-zero is true; "true" and "false" are understood as well."""
        value = self._values.get(name)
        return _TRUTHS[value] if isinstance(value, str) and value in _TRUTHS else bool(self.integer(name))

    def _number(self, name: str, convert: Callable[[Any], Number]) -> Number | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            return convert(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise BadParameter(type(error).__name__, str(error)) from error

    def generation(self) -> Generation:
        """The call that these parameters make.

        Raises:
            BadParameter
        """
        return Generation(
            inputs=self.text("inputs"),
            sampling=read_sampling(
                do_sample=self.flag("do_sample"),
                temperature=self.real("temperature"),
                top_k=self.integer("top_k"),
                top_p=self.real("top_p"),
                repetition_penalty=self.real("repetition_penalty"),
            ),
            max_length=self.integer("max_length"),
            max_new_tokens=self.integer("max_new_tokens"),
        )


async def read_parameters(request: Request) -> Parameters:
    """Read the query and the body.

    Raises:
        BadParameter: the body is not what its content type says.
        TooLarge: the body is larger than this server reads.
    """
    query = _first_of_each(_pairs(request.scope["query_string"]))
    return Parameters(query, await _read_body(request) if request.method == "POST" else {})


async def _read_body(request: Request) -> dict[str, Any]:
    match request.headers.get("content-type", "").partition(";")[0].strip().lower():
        case "application/json":
            return _json_object(await request.body())
        case "application/x-www-form-urlencoded":
            return _first_of_each(_pairs(await request.body()))
        case "multipart/form-data":
            return await _read_multipart(request)
        case _:
            return {}


def _pairs(encoded: bytes) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError as error:
        raise BadParameter("ValueError", str(error)) from error


async def _read_multipart(request: Request) -> dict[str, Any]:
    """The fields of a multipart form; files in it are no parameters."""
    max_bytes = settings_of(request).max_body_bytes
    try:
        async with request.form(max_fields=_MAX_FIELDS, max_part_size=max_bytes) as form:
            return _first_of_each([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
    except HTTPException as error:
        raise BadParameter("ValueError", error.detail) from error


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadParameter("ValueError", f"the body is not JSON: {reason_of(error)}") from error
    if not isinstance(value, dict):
        raise BadParameter("TypeError", f"the JSON body must be an object, not {type(value).__name__}")
    return value


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))
