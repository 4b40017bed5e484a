"""Random requests of every call that a document describes, right ones and wrong ones: none breaks the server.

They are drawn from our own document and from that of Open Responses, and are the same ones in each run, but for a long
one over OpenAI's routes, which says its seed and takes one from ``SCHEMATHESIS_SEED``.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.responses.oracle import check_response, open_responses
from tests.api.live_server import serving

MAX_WAIT_S = 60
"""A request without an answer for so long hangs; the machine might be busy."""

NUM_REQUESTS = 6
"""Of each call and kind."""

NUM_MORE = 250
"""The same in the long run."""

NEEDED: dict[str, dict[str, Any]] = {
    "/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/completions": {"prompt": "hello"},
    "/responses": {"input": "hello"},
    "/responses/input_tokens": {"input": "hello"},
}
"""Fields without which a call is refused."""

Check = Callable[[Case[Any], Response], None]

pytestmark = pytest.mark.timeout(600)

BOTH = pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])


@BOTH
async def test_no_request_of_our_own_document_breaks_the_server(mode: GenerationMode) -> None:
    async with serving(build_app(_talking_cluster(), ApiSettings())) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            document = (await client.get("/openapi.json")).json()
            for call in _calls(document):
                if mode is GenerationMode.NEGATIVE and not (call.body or call.query):
                    continue  # any text is a right one in a path
                await asyncio.to_thread(_try, call, mode, url, _is_as_described, await _ids(client))


@BOTH
async def test_no_request_of_the_open_responses_document_breaks_the_server(mode: GenerationMode) -> None:
    async with serving(build_app(_talking_cluster(), ApiSettings())) as url:
        for call in _calls(open_responses()):
            await asyncio.to_thread(_try, call, mode, f"{url}/v1", _is_open_response, {}, 8 * NUM_REQUESTS)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@BOTH
async def test_none_of_many_requests_of_openais_routes_breaks_the_server(mode: GenerationMode) -> None:
    number = int(os.environ.get("SCHEMATHESIS_SEED") or random.SystemRandom().getrandbits(32))
    print(f"\nSCHEMATHESIS_SEED={number}, {NUM_MORE} requests of each call")  # noqa: T201
    async with serving(build_app(_talking_cluster(), ApiSettings())) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            document = (await client.get("/openapi.json")).json()
            calls = [call for call in _calls(document) if call.path.startswith("/v1/")]
            assert calls
            for call in calls:
                if mode is GenerationMode.POSITIVE or call.body or call.query:
                    ids = await _ids(client)
                    await asyncio.to_thread(_try, call, mode, url, _is_as_described, ids, NUM_MORE, number)
            for call in _calls(open_responses()):
                await asyncio.to_thread(_try, call, mode, f"{url}/v1", _is_open_response, {}, NUM_MORE, number)


def _talking_cluster() -> FakeCluster:
    cluster = FakeCluster(max_sessions=10_000)
    cluster.model = toy_model.says("Hi.</s>")
    return cluster


def _calls(document: dict[str, Any]) -> Iterator[APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_dict(document)
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        yield found.ok()


async def _ids(client: httpx.AsyncClient) -> dict[str, str]:
    """Of things that are there, by the names that they have in paths."""
    session = (await client.post("/api/sessions", json={})).json()
    response = (await client.post("/v1/responses", json={"input": "hello"})).json()
    program = (await client.post("/api/programs", json={"source": "# an inferlet"})).json()
    inferlet = (await client.post("/api/inferlets", json={"program": program["program"]})).json()
    await client.post("/api/topics/news", content="hello", headers={"Content-Type": "text/plain"})
    ids = {"session_id": session["id"], "response_id": response["id"], "instance_id": inferlet["id"]}
    return ids | {"topic": "news", "queue": "work", "name": "toy"}


def _try(
    call: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    url: str,
    check: Check,
    ids: dict[str, str],
    max_requests: int = NUM_REQUESTS,
    number: int | None = None,
) -> None:
    """Send each request; every second one names things that exist, and has all that it needs.

    Args:
        number: what the requests are drawn with; None for the same ones each time.
    """
    numbers = count()

    def send(case: Case[Any]) -> None:
        number = next(numbers)
        if number % 2:
            _fill(case, ids, number // 2)
        if case.path.endswith(("/events", "/stream")):
            _check_beginning(case, url)
            return
        response = case.call(base_url=url, timeout=MAX_WAIT_S)
        assert response.status_code < 500 or response.status_code == 503, case.as_curl_command()
        if response.headers.get("content-type") == ["application/json"]:
            check(case, response)

    checks = list(HealthCheck)
    limits = settings(max_examples=max_requests, deadline=None, phases=[Phase.generate], suppress_health_check=checks)
    test = settings(limits, derandomize=number is None, database=None)(
        given(call.as_strategy(generation_mode=mode))(send)
    )
    with suppress(Unsatisfiable):  # nothing can be wrong with a body of any kind
        (test if number is None else seed(number)(test))()


def _is_as_described(case: Case[Any], response: Response) -> None:
    checks: list[Any] = [content_type_conformance, response_schema_conformance]
    case.validate_response(response, checks=checks)


def _is_open_response(case: Case[Any], response: Response) -> None:
    if response.status_code == 200:
        check_response(response.json())


def _fill(case: Case[Any], ids: dict[str, str], number: int) -> None:
    """Name what is there, and let few fields of the body be other than they should."""
    case.path_parameters.update({name: ids[name] for name in case.path_parameters if name in ids})
    needed = next((fields for end, fields in NEEDED.items() if case.path.endswith(end)), None)
    if needed is not None and isinstance(case.body, dict):
        case.body = {**dict(islice(case.body.items(), number % 4)), **needed}


def _check_beginning(case: Case[Any], url: str) -> None:
    """Of events that have no end."""
    sent = case.as_transport_kwargs(url)
    with httpx.stream(sent["method"], sent["url"], params=sent["params"], timeout=MAX_WAIT_S) as response:
        assert response.status_code < 500, case.as_curl_command()
