"""``GET /openapi.json``: all HTTP routes, described by the schemas that they read and write.

What is not HTTP, the WebSockets, is described where their messages are: OpenAPI has no form for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from inspect import getdoc
from typing import Any, Literal

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api.http.json_text import json_text
from api.http.openai.envelope import OpenAIErrorBody, is_openai_path
from api.http.operations import Content, JsonObject, Operation, kinds_of
from api.http.responses import ErrorBody
from api.http.settings import settings_of

VERSION = "0.1.0"

Mode = Literal["validation", "serialization"]
Schemas = Mapping[tuple[Any, Mode], Mapping[str, Any]]

_TEMPLATE = "#/components/schemas/{model}"
_ERRORS = (ErrorBody, OpenAIErrorBody)


def openapi_route(routes: Sequence[BaseRoute]) -> Operation:
    """The route that shows these routes and itself."""

    @cache
    def text(has_keys: bool) -> str:
        return json_text(openapi_document([*routes, route], has_keys))

    async def show_openapi(request: Request) -> Response:
        return Response(text(bool(settings_of(request).api_keys)), media_type="application/json")

    route = Operation("GET", "/openapi.json", show_openapi, answers={200: JsonObject}, is_open=True)
    return route


def openapi_document(routes: Sequence[BaseRoute], has_keys: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document of the HTTP routes among these; ``has_keys`` where API keys are asked for."""
    operations = [operation for route in routes if isinstance(route, Route) for operation in _operations_of(route)]
    schemas, components = _schemas_of(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _described(operation, schemas, has_keys)
        paths.setdefault(_plain(operation.path), {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "Greenroom", "version": VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operations_of(route: Route) -> Iterable[Operation]:
    """The route itself; one that says nothing of what it takes is shown with what it has."""
    if isinstance(route, Operation):
        return (route,)
    methods = sorted((route.methods or set()) - {"HEAD"})
    return [Operation(method, route.path, route.endpoint, answers={}) for method in methods]


def _schemas_of(operations: Sequence[Operation]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of each type, as it is read and as it is written, and what these schemas refer to."""
    read = {kind for one in operations for kind in (*kinds_of(one.takes), *one.query.values())}
    written = {kind for one in operations for content in one.answers.values() for kind in kinds_of(content)}
    used: list[tuple[Any, Mode]] = [(kind, "validation") for kind in _types(read)]
    used += [(kind, "serialization") for kind in _types(written | {*_ERRORS})]
    numbered = [(number, mode, TypeAdapter(kind)) for number, (kind, mode) in enumerate(used)]
    found, rest = TypeAdapter.json_schemas(numbered, ref_template=_TEMPLATE)
    schemas = {use: found[number, use[1]] for number, use in enumerate(used)}
    return schemas, rest.get("$defs", {})


def _types(kinds: Iterable[Any]) -> list[Any]:
    return sorted((kind for kind in kinds if not isinstance(kind, str)), key=repr)


def _described(operation: Operation, schemas: Schemas, has_keys: bool) -> dict[str, Any]:
    error = OpenAIErrorBody if is_openai_path(operation.path) else ErrorBody
    failure = {"description": "An error", "content": _content(error, "serialization", schemas)}
    found: dict[str, Any] = {
        "operationId": "_".join([operation.method.lower(), *re.findall(r"\w+", _plain(operation.path))]),
        "summary": operation.endpoint.__name__.replace("_", " ").capitalize(),
        "parameters": _parameters(operation, schemas),
        "responses": {
            **{str(status): _answer(status, content, schemas) for status, content in operation.answers.items()},
            "default": failure,
        },
    }
    if documentation := getdoc(operation.endpoint):
        found["description"] = documentation
    if operation.takes is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.takes, "validation", schemas)}
    if has_keys and not operation.is_open:
        found["security"] = [{"key": []}]
    return found


def _parameters(operation: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in operation.param_convertors
    ]
    return in_path + [
        {"name": name, "in": "query", "schema": schemas[kind, "validation"]} for name, kind in operation.query.items()
    ]


def _answer(status: int, content: Content, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    return found if content is None else {**found, "content": _content(content, "serialization", schemas)}


def _content(content: Content, mode: Mode, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in kinds_of(content):
        if isinstance(kind, str):
            found[kind] = {}
        else:
            found["application/json"] = {"schema": schemas[kind, mode]}
    return found


def _plain(path: str) -> str:
    """A path without what Starlette takes parts of it for."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
