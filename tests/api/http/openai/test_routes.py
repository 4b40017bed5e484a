"""Models, keys, limits and errors under ``/v1``: all of them in OpenAI's form."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai import (
    AuthenticationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

from api.errors import CapacityExhausted, GreenroomError, TooBusy
from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.toy_openai import KEYS, toy_openai
from tests.api.live_server import serving
from tests.api.shell import shell

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


async def test_models_are_listed_under_each_of_their_names_and_found_by_them() -> None:
    async with toy_openai(FakeCluster()) as client:
        listed = [model.id async for model in client.models.list()]
        found = await client.models.retrieve("toy-latest")
        with pytest.raises(NotFoundError) as failure:
            await client.models.retrieve("an/other")
    assert listed == ["toy", "toy-latest", "other"]
    assert (found.id, found.object, found.owned_by) == ("toy-latest", "model", "greenroom")
    assert (failure.value.code, failure.value.param, failure.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )


async def test_the_model_is_called_as_the_request_calls_it_and_may_be_left_out() -> None:
    async with shell() as client:
        for asked, called in ({"model": "toy-latest"}, "toy-latest"), ({}, "toy"):
            body = {"messages": HELLO, "max_tokens": 1, **asked}
            assert (await client.post("/v1/chat/completions", json=body)).json()["model"] == called


CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "x" * 1000}],
        [{"role": "user", "content": ""}] * 126,
        [{"role": "user", "content": [{"type": "text", "text": ""}] * 126}],
        [{"role": "assistant", "tool_calls": [CALL] * 126}],
        [{"role": "assistant", "tool_calls": [{**CALL, "id": "x" * 1000}]}],
        [{"role": "tool", "content": "", "tool_call_id": "x" * 1000}],
        [{"role": "tool", "content": "", "name": "x" * 100}] * 10,
    ],
)
async def test_a_chat_of_too_much_text_is_refused_wherever_it_stands(messages: list[Any]) -> None:
    cluster = FakeCluster()
    async with shell(settings=ApiSettings(max_prompt_chars=1000), cluster=cluster) as client:
        answer = await client.post("/v1/chat/completions", json={"messages": messages})
    assert (answer.status_code, answer.json()["error"]["code"], cluster.turns) == (413, "too_large", [])


@pytest.mark.parametrize("prompt", ["x" * 1001, ["x" * 501] * 2, [1] * 1001, [[1] * 501] * 2])
async def test_a_completion_of_too_much_text_or_too_many_tokens_is_refused(prompt: Any) -> None:
    cluster = FakeCluster()
    async with shell(settings=ApiSettings(max_prompt_chars=1000), cluster=cluster) as client:
        answer = await client.post("/v1/completions", json={"prompt": prompt})
    assert (answer.status_code, answer.json()["error"]["code"], cluster.turns) == (413, "too_large", [])


async def test_without_a_key_or_with_a_wrong_one_it_is_401_and_owners_are_told_apart() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, KEYS, "none") as client:
        for call in (client.models.list(), client.chat.completions.create(model="toy", messages=HELLO)):
            with pytest.raises(AuthenticationError) as failure:
                await call
            assert (failure.value.code, failure.value.type) == ("invalid_api_key", "invalid_request_error")
    for key, owner in ("key-of-ada", "ada"), ("key-of-bob", "bob"):
        async with toy_openai(cluster, KEYS, key) as client:
            await client.chat.completions.create(model="toy", messages=HELLO, max_tokens=1)
        assert cluster.owners[-1] == owner


@pytest.mark.parametrize(
    ("refusal", "kind", "code", "error_type"),
    [
        (TooBusy("the owner has its share"), RateLimitError, "rate_limit_exceeded", "rate_limit_error"),
        (CapacityExhausted("full"), InternalServerError, "capacity_exhausted", "server_error"),
        (GreenroomError("secret"), InternalServerError, "internal", "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_refuses_a_turn_has_its_status_streamed_or_not(
    refusal: GreenroomError, kind: type[Any], code: str, error_type: str, stream: bool
) -> None:
    cluster = FakeCluster()
    cluster.refusal = refusal
    async with toy_openai(cluster) as client:
        with pytest.raises(kind) as failure:
            await client.chat.completions.create(model="toy", messages=HELLO, stream=stream)
    error = failure.value
    assert (error.status_code, error.code, error.type) == (refusal.status, code, error_type)
    assert ("retry-after" in error.response.headers) == refusal.retryable


async def test_refusals_before_the_route_have_the_form_too() -> None:
    async with shell(settings=ApiSettings(max_body_bytes=1024)) as client:
        answers = [
            await client.get("/v1/nothing/here"),
            await client.get("/v1/chat/completions"),
            await client.post("/v1/chat/completions", content=b" " * 2000),
            await client.get("/v1/models", headers={"Origin": "http://evil.example"}),
            await client.get("/v1/models", headers={"Host": "evil.example"}),
        ]
        other = await client.get("/api/nothing")
    assert [answer.status_code for answer in answers] == [404, 405, 413, 403, 421]
    for answer in answers:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answers[0].json()["error"]["code"] == "unknown_url"
    assert other.json()["error"].keys() == {"code", "message", "retryable"}


async def test_an_owner_that_has_its_share_of_calls_gets_429_with_retry_after_and_others_do_not() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    settings = KEYS.model_copy(update={"max_concurrent_requests": 4, "owner_share": 0.25})
    async with serving(build_app(cluster, settings)) as url:
        async with (
            toy_openai(cluster, key="key-of-ada", url=url) as ada,
            toy_openai(cluster, key="key-of-bob", url=url) as bob,
        ):
            call = asyncio.create_task(ada.chat.completions.create(model="toy", messages=HELLO, max_tokens=1))
            await cluster.begun.acquire()
            with pytest.raises(RateLimitError) as failure:
                await ada.models.list()
            await bob.models.list()
            cluster.pace.release()
            await call
    assert (failure.value.code, failure.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "1")


async def test_pages_of_other_sites_are_refused_and_those_that_are_named_are_not() -> None:
    async with toy_openai(FakeCluster(), ApiSettings(cors_origins=("https://chat.example",))) as client:
        await client.with_options(default_headers={"Origin": "https://chat.example"}).models.list()
        with pytest.raises(PermissionDeniedError):
            await client.with_options(default_headers={"Origin": "https://evil.example"}).models.list()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"messages": "\\ud800"}', b"\xff"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_a_body_that_is_none_is_400(path: str, content: bytes) -> None:
    async with shell() as client:
        answer = await client.post(path, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
