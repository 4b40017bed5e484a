"""Tools that make one HTTP request, to hosts of a list."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from api.agents.allowed_hosts import PORTS, AllowedHosts
from api.agents.environment import filled_in
from api.agents.http_requests import HttpRequest, fetch
from api.agents.schemas import reader_of
from api.agents.tools import FunctionTool
from api.errors import InvalidRequest
from api.tools import Tool

MAX_BYTES = 700_000
"""Of an answer: it is one value, and some take more as JSON or base64."""

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_WITH_BODY = ("POST", "PUT", "PATCH")
_FIELD = re.compile(r"\{(\w+)\}")
"""An argument in a URL; of one that is a field as a whole, the argument is the URL."""


def http_tool(
    name: str,
    url: str,
    method: str = "GET",
    parameters: Mapping[str, Any] | None = None,
    description: str = "",
    *,
    hosts: Collection[str] = (),
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 100_000,
    timeout_s: float = 30.0,
    needs_approval: bool = False,
    max_calls: int | None = None,
    retry_safe: bool = False,
) -> FunctionTool:
    """A tool that makes an HTTP request; its result is what the answer is: JSON, text, or a file.

    Args:
        url: ``{field}`` in its path or query is an argument. One that is ``{field}`` as a whole is the model's: then
            ``hosts`` says where it may lead. Arguments that are no field are the query, or the JSON body of a POST, PUT
            or PATCH.
        parameters: the JSON schema of the arguments, an object; without it, each field of the URL is a text.
        hosts: that may be reached, by redirects too (which only a GET follows): a name, ``*.name``, ``*``, an
            address or a network, perhaps with ``:port``; none: the URL's own. A name that leads to a private address is
            not reached, unless the list has that address or its network.
        headers: of each request to the URL's own host; ``${NAME}`` is an environment variable of the process that
            makes it. None of them is shown to anybody.
        max_bytes: of an answer.
        timeout_s: time for one call.

    Raises:
        InvalidRequest: something is not what it must be.
    """
    fields = _FIELD.findall(url)
    if method not in _METHODS:
        raise InvalidRequest(f"tool {name!r}: the method is one of {', '.join(_METHODS)}")
    if not 0 < max_bytes <= MAX_BYTES:
        raise InvalidRequest(f"tool {name!r}: max_bytes is from 1 to {MAX_BYTES}")
    if parameters is None:
        texts = {field: {"type": "string"} for field in fields}
        parameters = {"type": "object", "properties": texts, "required": list(texts), "additionalProperties": False}
    if unknown := [field for field in fields if field not in parameters.get("properties", {})]:
        raise InvalidRequest(f"tool {name!r}: the parameters have no {unknown[0]!r}, which the url has")
    allowed = AllowedHosts(hosts if hosts and _FIELD.fullmatch(url) else [_host(name, url), *hosts])

    async def request(**arguments: Any) -> Any:
        filled, rest = _filled(url, arguments)
        is_body = method in _WITH_BODY
        sent = HttpRequest(method, filled, {} if is_body else rest, rest if is_body else None, filled_in(headers or {}))
        return await fetch(sent, allowed, max_bytes)

    return FunctionTool(
        Tool(name, description, json.dumps(parameters)),
        request,
        reader_of(dict(parameters)),
        needs_approval=needs_approval,
        timeout_s=timeout_s,
        max_calls=max_calls,
        retry_safe=retry_safe,
    )


def _host(name: str, url: str) -> str:
    """The host that the URL itself names."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or "{" in parts.netloc or "@" in parts.netloc:
        raise InvalidRequest(f"tool {name!r}: the url begins with http:// or https:// and a host, or hosts are named")
    return parts.netloc if parts.port is not None else parts.hostname


def _filled(url: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The URL with its fields, and the arguments that are none.

    Raises:
        ValueError: a field has no value, or one that would lead elsewhere.
    """
    fields = _FIELD.findall(url)
    rest = {name: value for name, value in arguments.items() if name not in fields}
    if whole := _FIELD.fullmatch(url):
        return str(arguments.get(whole[1], "")), rest
    filled = _FIELD.sub(lambda found: _escaped(found[1], arguments.get(found[1])), url)
    if {".", ".."} & set(urlsplit(filled).path.split("/")):
        raise ValueError("an argument would change the path of the URL")
    return filled, rest


def _escaped(field: str, value: Any) -> str:
    if not isinstance(value, str | int | float) or value == "":
        raise ValueError(f"{field} is a text or a number that stands in the URL")
    return quote(value if isinstance(value, str) else json.dumps(value), safe="")
