"""``POST /v1/responses`` on the toy model: every body and event is held to the Open Responses document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from openai import APIError, BadRequestError

from api.constraints import JsonSchema
from api.errors import CapacityExhausted, Unavailable
from api.http.openai.responses.creation import Creation
from api.http.openai.responses.draft import draft_of
from api.http.openai.responses.schemas import ResponseBody
from api.settings import ApiSettings
from api.turns import Finish, Message
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_response, events_of
from tests.api.http.openai.toy_openai import toy_openai
from tests.api.shell import shell

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def saying(answer: str) -> FakeCluster:
    """A cluster whose model says this."""
    cluster = FakeCluster()
    cluster.model = toy_model.says(answer)
    return cluster


async def created(cluster: FakeCluster, **fields: Any) -> dict[str, Any]:
    """The body of a response."""
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/responses", json={"model": "toy", "input": "hello", **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    check_response(body)
    return body


async def refused(status: int = 400, **fields: Any) -> dict[str, Any]:
    """The error."""
    async with shell() as client:
        answer = await client.post("/v1/responses", json={"model": "toy", "input": "hello", **fields})
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.mark.parametrize("store", [True, False])
async def test_an_answer_is_a_response_with_one_message_and_its_usage(store: bool) -> None:
    body = await created(saying("Good day.</s>"), store=store, metadata={"a": "b"}, instructions="Be kind.")
    (item,) = body["output"]
    assert (item["role"], item["status"], item["content"][0]["text"]) == ("assistant", "completed", "Good day.")
    assert (body["status"], body["store"], body["metadata"]) == ("completed", store, {"a": "b"})
    prompt = toy_model.encode_prompt([Message("system", "Be kind."), Message("user", "hello")], is_first=True)
    assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (len(prompt), 10)
    assert body["usage"]["total_tokens"] == len(prompt) + 10


@pytest.mark.parametrize("store", [True, False])
async def test_a_stream_tells_of_every_item_and_part_and_ends_as_the_whole_answer_does(store: bool) -> None:
    async with shell(cluster=saying("Bon·jour.</s>")) as client:
        call = {"input": "hello", "stream": True, "store": store}
        events = events_of(await client.post("/v1/responses", json=call))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Bon·jour."


async def test_openais_own_client_puts_a_stream_together() -> None:
    async with toy_openai(saying("Good day.</s>"), is_strict=False) as client:
        async with client.responses.stream(model="toy", input="hello") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
    assert (final.output_text, kinds[-1]) == ("Good day.", "response.completed")


async def test_the_input_may_be_items_and_is_put_through_the_chat_template() -> None:
    cluster = saying("yes</s>")
    items = [
        {
            "role": "developer",
            "content": [{"type": "input_text", "text": "Be"}, {"type": "input_text", "text": "kind."}],
        },
        {"type": "message", "role": "user", "content": "one"},
        {"type": "reasoning", "summary": [], "encrypted_content": "of another server"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "two", "annotations": []}],
        },
        {"type": "message", "role": "user", "content": "three"},
    ]
    await created(cluster, input=items, instructions="Be short.", store=False)
    assert cluster.turns[0].request.prompt == (
        Message("system", "Be short."),
        Message("developer", "Be\nkind."),
        Message("user", "one"),
        Message("assistant", "two"),
        Message("user", "three"),
    )


async def test_what_is_asked_for_is_used_and_told_again() -> None:
    cluster = saying("{}</s>")
    form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
    asked = {"temperature": 0.5, "top_p": 0.25, "presence_penalty": 1.0, "frequency_penalty": -1.0}
    others = {"max_tool_calls": 3, "safety_identifier": "me", "prompt_cache_key": "key", "parallel_tool_calls": False}
    body = await created(cluster, text={"format": form, "verbosity": "low"}, max_output_tokens=7, **asked, **others)
    assert {name: body[name] for name in (*asked, *others)} == {**asked, **others}
    assert (body["text"]["format"]["schema"], body["text"]["verbosity"]) == (SCHEMA, "low")
    request = cluster.turns[0].request
    assert {name: getattr(request.sampling, name) for name in asked} == asked
    assert isinstance(request.constraint, JsonSchema)
    assert (request.stop.max_tokens, body["max_output_tokens"]) == (7, 7)


async def test_an_answer_that_is_cut_is_incomplete() -> None:
    body = await created(saying("Good day."), max_output_tokens=4)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (body["output"][0]["status"], body["output"][0]["content"][0]["text"]) == ("incomplete", "Good")
    assert body["completed_at"] is None


async def test_an_answer_of_no_text_is_a_message_all_the_same() -> None:
    (item,) = (await created(saying("</s>")))["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


async def test_an_error_in_mid_stream_is_told_and_followed_by_the_failed_response() -> None:
    cluster, says = FakeCluster(), toy_model.says("ab")

    def breaks(context: Sequence[int]) -> int:
        token = says(context)
        if token == toy_model.EOS:
            raise Unavailable("the model is gone")
        return token

    cluster.model = breaks
    async with shell(cluster=cluster) as client:
        events = events_of(await client.post("/v1/responses", json={"input": "hello", "stream": True}))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    failed = events[-1]["response"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert failed["output"][0]["content"][0]["text"] == "ab"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"truncation": "always"}, "truncation", "invalid_value"),
        ({"include": ["web_search_call.results"]}, "include", "unsupported"),
        ({"include": ["reasoning.encrypted_content"] * 17}, "include", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "schema": {}, "description": "x" * 65_537}}},
            "text",
            "invalid_value",
        ),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported"),
        ({"n": 2}, "n", "unsupported"),
        ({"stop": "x"}, "stop", "unsupported"),
        ({"background": True, "store": False}, "background", "invalid_value"),
        ({"tools": [{"type": "file_search"}]}, "tools", "unsupported_content"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, None, "invalid_request"),
        ({"tool_choice": {"type": "mcp", "name": "x"}}, "tool_choice", "unsupported"),
        ({"input": None}, "input", "invalid_value"),
        ({"input": [{"type": "computer_call"}]}, "input", "unsupported_content"),
        ({"input": [{"role": "critic", "content": "x"}]}, "input", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input", "invalid_value"),
        ({"input": [{"type": "function_call", "call_id": "1", "name": "f"}]}, "input", "invalid_value"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input", "unsupported_content"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "invalid_value"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text", "invalid_value"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(fields: dict[str, Any], param: str | None, code: str) -> None:
    error = await refused(**fields)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


async def test_an_item_that_is_only_named_and_not_there_is_404() -> None:
    for item in {"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}:
        assert (await refused(404, input=[item]))["code"] == "item_not_found"


async def test_tools_of_openais_own_servers_are_left_out_with_a_warning() -> None:
    async with shell(cluster=saying("Hi.</s>")) as client:
        tools = [{"type": "web_search"}, {"type": "namespace", "name": "x"}]
        answer = await client.post("/v1/responses", json={"input": "hello", "tools": tools})
    assert (answer.status_code, answer.json()["tools"]) == (200, [])
    assert [kind in answer.headers["warning"] for kind in ("web_search", "namespace")] == [True, True]


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_what_refuses_a_turn_has_its_status_and_leaves_no_session(store: bool, stream: bool) -> None:
    cluster = FakeCluster()
    cluster.refusal = CapacityExhausted("full")
    async with toy_openai(cluster) as client:
        with pytest.raises(APIError) as failure:
            await client.responses.create(model="toy", input="hello", store=store, stream=stream)
    assert getattr(failure.value, "status_code", None) == 503
    assert not cluster.open_sessions


async def test_input_tokens_are_counted_without_an_answer() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, is_strict=False) as client:
        first = await client.responses.create(model="toy", input="hello", instructions="Be kind.", max_output_tokens=3)
        counted = await client.responses.input_tokens.count(model="toy", input="hello", instructions="Be kind.")
        more = await client.responses.input_tokens.count(
            model="toy", input="more", instructions="Be kind.", previous_response_id=first.id
        )
    assert first.usage is not None
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", first.usage.input_tokens)
    new = toy_model.encode_prompt([Message("user", "more")], is_first=False)
    assert more.input_tokens == first.usage.total_tokens + len(new)
    for turn in cluster.turns[1:]:
        await turn.ended.wait()
    assert len(cluster.open_sessions) == 1


async def test_a_client_that_leaves_before_the_first_token_ends_a_response_that_is_not_stored() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    creation = Creation(cluster, "", 60.0, is_queued=False)
    body = ResponseBody.model_validate_json('{"input": "hello", "store": false}')
    events = (await creation.begin(draft_of(body, body.entries(), TOY))).events()  # type: ignore[arg-type]
    await anext(events)
    await events.aclose()
    await cluster.turns[0].ended.wait()
    assert cluster.turns[0].finish == Finish("cancelled")


@pytest.mark.parametrize("call", ["GET /v1/assistants", "POST /v1/batches"])
async def test_what_is_not_built_is_refused_by_its_address(call: str) -> None:
    async with shell() as client:
        answer = await client.request(*call.split())
    assert answer.status_code in (404, 405)
    assert call in answer.json()["error"]["message"]


async def test_an_input_that_is_too_long_is_refused_by_openais_code() -> None:
    async with toy_openai(FakeCluster(), ApiSettings(max_prompt_chars=100_000)) as client:
        with pytest.raises(BadRequestError) as failure:
            await client.responses.create(model="toy", input="x" * 5000)
    assert failure.value.code == "context_length_exceeded"
