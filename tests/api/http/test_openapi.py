"""The OpenAPI document against the routes: what it says of them holds, and it says something of each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from api.http.app import build_app
from api.http.operations import Operation
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.toy_openai import KEYS
from tests.api.shell import shell

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


async def document(settings: ApiSettings | None = None, *more: Route) -> dict[str, Any]:
    """As it is served."""
    async with shell(more, settings) as client:
        answer = await client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def calls(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """By method and path."""
    return {(method.upper(), path): call for path, item in found["paths"].items() for method, call in item.items()}


async def test_it_is_an_openapi_document_of_this_version() -> None:
    found = await document()
    schemathesis.openapi.from_dict(found).validate()
    assert found["openapi"].startswith("3.1")
    assert found["info"]["version"] == tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    names = [call["operationId"] for call in calls(found).values()]
    assert len(set(names)) == len(names)


async def test_each_http_route_is_in_it_and_no_other() -> None:
    routes = [
        route for route in build_app(FakeCluster(), ApiSettings()).routes if not isinstance(route, WebSocketRoute)
    ]
    served = set()
    for route in routes:
        assert isinstance(route, Route), route
        path = re.sub(r":\w+\}", "}", route.path)
        served |= {(method, path) for method in (route.methods or set()) - {"HEAD"}}
    assert set(calls(await document())) == served
    assert [route for route in routes if not isinstance(route, Operation)] == [], "without what they take and answer"


async def test_every_call_in_it_is_answered_by_its_handler() -> None:
    async with shell() as client:
        for (method, path), call in calls(await document()).items():
            if path.endswith(("/events", "/stream")):
                continue  # they have no end
            answer = await client.request(method, re.sub(r"\{\w+\}", "index.html", path))
            assert answer.headers.get("x-greenroom-error") not in ("not_found", "method_not_allowed"), call


async def test_a_key_is_needed_where_it_says_so_and_only_there() -> None:
    app = build_app(FakeCluster(), KEYS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for (method, path), call in calls((await client.get("/openapi.json")).json()).items():
            answer = await client.request(method, re.sub(r"\{\w+\}", "x", path))
            assert (answer.status_code == 401) == ("security" in call), (method, path, answer.text)
    assert not any("security" in call for call in calls(await document()).values()), "where there are no keys"


@pytest.mark.parametrize(
    ("method", "path", "name", "field"),
    [
        ("POST", "/api/sessions", "OpenSessionBody", "idle_timeout_s"),
        ("POST", "/v1/chat/completions", "ChatBody", "max_completion_tokens"),
        ("POST", "/v1/responses", "ResponseBody", "previous_response_id"),
    ],
)
async def test_a_body_has_the_fields_of_its_schema(method: str, path: str, name: str, field: str) -> None:
    found = await document()
    schema = calls(found)[method, path]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": f"#/components/schemas/{name}"}
    assert field in found["components"]["schemas"][name]["properties"]


async def test_a_route_that_says_nothing_of_itself_is_in_it_all_the_same() -> None:
    async def look_up(request: Request) -> Response:
        """Look it up."""
        return Response()

    found = calls(await document(None, Route("/other/{number:int}", look_up, methods=["PUT"])))
    assert found["PUT", "/other/{number}"]["description"] == "Look it up."
