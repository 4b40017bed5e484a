"""Chat completions on the toy model, through openai-python, whose types validate every answer and chunk."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import APIError, BadRequestError, NotFoundError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from api.constraints import JsonSchema
from api.errors import Unavailable
from api.http import event_stream
from api.http.app import build_app
from api.settings import ApiSettings
from api.turns import Message, Sampling
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.toy_openai import toy_openai
from tests.api.live_server import serving

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


async def answered(answer: str, **call: Any) -> ChatCompletion:
    """The answer when the model says this."""
    cluster = FakeCluster()
    cluster.model = toy_model.says(answer)
    async with toy_openai(cluster) as client:
        completion: ChatCompletion = await client.chat.completions.create(model="toy", messages=HELLO, **call)
    return completion


async def streamed(answer: str, **call: Any) -> list[ChatCompletionChunk]:
    """The chunks when the model says this."""
    cluster = FakeCluster()
    cluster.model = toy_model.says(answer)
    async with toy_openai(cluster) as client:
        return [
            chunk
            async for chunk in await client.chat.completions.create(model="toy", messages=HELLO, stream=True, **call)
        ]


async def refused(**call: Any) -> BadRequestError:
    """The error."""
    async with toy_openai(FakeCluster()) as client:
        with pytest.raises(BadRequestError) as failure:
            await client.chat.completions.create(**({"model": "toy", "messages": HELLO} | call))
    return failure.value


async def test_an_answer_is_a_chat_completion_with_its_usage() -> None:
    completion = await answered("Good day.</s>")
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Good day.", "stop")
    assert completion.usage is not None
    prompt = len(toy_model.encode_prompt([Message("user", "hello")], is_first=True))
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (prompt, len("Good day.") + 1)
    assert completion.usage.total_tokens == prompt + len("Good day.") + 1
    assert (completion.model, completion.object, completion.id[:9]) == ("toy", "chat.completion", "chatcmpl-")


async def test_a_stream_has_the_role_first_then_text_then_the_reason_then_the_usage() -> None:
    chunks = await streamed("Hi</s>", stream_options={"include_usage": True})
    deltas = [(chunk.choices[0].delta.role, chunk.choices[0].delta.content) for chunk in chunks[:-1]]
    assert deltas == [("assistant", ""), (None, "H"), (None, "i"), (None, None)]
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert (chunks[-1].choices, chunks[-1].usage and chunks[-1].usage.completion_tokens) == ([], 3)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_ends_with_done_and_has_no_usage_unless_asked() -> None:
    async with serving(build_app(FakeCluster(), ApiSettings())) as url, httpx.AsyncClient() as http:
        body = {"messages": HELLO, "max_tokens": 2, "stream": True}
        answer = await http.post(f"{url}/v1/chat/completions", json=body)
    *events, last = [event.removeprefix("data: ") for event in answer.text.strip().split("\n\n")]
    assert last == "[DONE]"
    assert answer.headers["content-type"].startswith("text/event-stream")
    chunks = [ChatCompletionChunk.model_validate_json(event) for event in events]
    assert all("usage" not in json.loads(event) for event in events)
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "length"]


@pytest.mark.parametrize("stop", [["END", "lo w"], "ND"])
async def test_a_stop_is_not_in_the_text_streamed_or_not_and_its_tokens_count(stop: list[str] | str) -> None:
    text = "Hello END of it" if stop == "ND" else "Hello world END"
    expected = {"ND": "Hello E"}.get(str(stop), "Hel")
    whole, chunks = await answered(text, stop=stop), await streamed(text, stop=stop)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (expected, "stop")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
    assert whole.usage is not None
    assert whole.usage.completion_tokens == len("Hello END" if stop == "ND" else "Hello w")


async def test_what_might_begin_a_stop_and_does_not_comes_out_in_the_end() -> None:
    for answer in ("almost EN</s>", "EEN</s>"):
        chunks = await streamed(answer, stop=["END"])
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.removesuffix("</s>")


async def test_the_log_probabilities_are_those_of_the_text_and_of_nothing_else() -> None:
    call = {"logprobs": True, "top_logprobs": 2, "stop": ["!"]}
    whole, chunks = await answered("é#!", **call), await streamed("é#!", **call)
    logprobs = whole.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [token.bytes for token in logprobs.content] == [[0xC3], [0xA9], [0x23]]
    assert [token.token for token in logprobs.content] == ["\ufffd", "\ufffd", "#"]
    assert [[top.bytes for top in token.top_logprobs] for token in logprobs.content][2] == [[0x23], [0x24]]
    assert logprobs.content[0].logprob == -math.log(2)
    parts = [chunk.choices[0].logprobs for chunk in chunks]
    assert [token for part in parts if part and part.content for token in part.content] == logprobs.content


async def test_what_was_asked_for_reaches_the_engine() -> None:
    cluster = FakeCluster(replace(TOY, sampling=Sampling(0.6, top_k=20, top_p=0.9, repetition_penalty=1.1)))
    async with toy_openai(cluster) as client:
        await client.chat.completions.create(
            model="toy-latest",
            messages=[
                {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
                {"role": "user", "content": "<s>hi"},
                {"role": "assistant", "content": None, "refusal": "No."},
                {"role": "user", "content": "why"},
            ],
            top_p=0.5,
            presence_penalty=1.5,
            frequency_penalty=-1,
            logit_bias={"7": -100},
            seed=5,
            max_tokens=3,
            max_completion_tokens=2,
            extra_body={"top_k": 4, "min_p": 0.1, "unknown": {"field": 1}},
        )
    (turn,) = cluster.turns
    assert turn.request.sampling == Sampling(0.6, 4, 0.5, 0.1, 1.1, 1.5, -1, ((7, -100),), 5)
    assert turn.request.stop.max_tokens == 2
    contents = [(part.role, part.content) for part in turn.request.prompt if isinstance(part, Message)]
    assert contents == [("developer", "Be\nkind."), ("user", "<s>hi"), ("assistant", "No."), ("user", "why")]


async def test_without_a_limit_an_answer_may_fill_the_context_and_with_too_large_a_one_it_is_cut_there() -> None:
    limits: list[dict[str, Any]] = [{}, {"max_tokens": 10**9}]
    for limit in limits:
        cluster = FakeCluster(replace(TOY, max_context_tokens=30))
        async with toy_openai(cluster) as client:
            completion = await client.chat.completions.create(model="toy", messages=HELLO, **limit)
        assert completion.choices[0].finish_reason == "length"
        assert completion.usage is not None
        assert completion.usage.total_tokens == 31


async def test_choices_have_seeds_of_their_own_and_the_first_has_the_requests() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster) as client:
        one = await client.chat.completions.create(model="toy", messages=HELLO, n=3, seed=2**64 - 1, max_tokens=4)
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="toy", messages=HELLO, n=3, stream=True, max_tokens=4, stream_options={"include_usage": True}
            )
        ]
    assert [turn.request.sampling.seed for turn in cluster.turns[:3]] == [2**64 - 1, -(2**63), -(2**63) + 1]
    texts = [choice.message.content for choice in one.choices]
    assert [choice.index for choice in one.choices] == [0, 1, 2]
    for index, text in enumerate(texts):
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices and chunk.choices[0].index == index]
        assert "".join(choice.delta.content or "" for choice in mine) == text
        assert mine[0].delta.role == "assistant"
    assert one.usage == chunks[-1].usage
    assert one.usage is not None
    assert one.usage.completion_tokens == 12


async def test_a_response_format_holds_the_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    cluster = FakeCluster()
    async with toy_openai(cluster) as client:
        formats: list[Any] = [
            {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}},
            {"type": "text"},
            {"type": "json_object"},
        ]
        for format in formats:
            await client.chat.completions.create(model="toy", messages=HELLO, max_tokens=1, response_format=format)
    held, free, any_object = (turn.request.constraint for turn in cluster.turns)
    assert isinstance(held, JsonSchema)
    assert json.loads(held.schema) == schema
    assert free is None
    assert isinstance(any_object, JsonSchema)


@pytest.mark.parametrize(
    ("call", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages",
            "unsupported_content",
        ),
        ({"temperature": 101}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": ["x" * 1025]}, "stop", "invalid_value"),
        ({"logit_bias": {"259": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"one": 1}}, "logit_bias", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_content"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format",
            "invalid_value",
        ),
        ({"response_format": {"type": "yaml"}}, "response_format", "invalid_value"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_field_that_says_it(
    call: dict[str, Any], param: str, code: str
) -> None:
    error = await refused(**call)
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")


async def test_a_prompt_that_is_too_long_and_a_model_that_is_not_there_have_openais_codes() -> None:
    error = await refused(messages=[{"role": "user", "content": "x" * 5000}])
    assert error.code == "context_length_exceeded"
    async with toy_openai(FakeCluster()) as client:
        with pytest.raises(NotFoundError) as failure:
            await client.chat.completions.create(model="gpt-9", messages=HELLO)
    assert (failure.value.code, failure.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("extra", [{}, {"stream": True}, {"n": 3}, {"n": 3, "stream": True}])
async def test_a_client_that_leaves_ends_the_turns(path: str, extra: dict[str, Any]) -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with serving(build_app(cluster, ApiSettings())) as url, httpx.AsyncClient(base_url=url) as http:
        body = {"messages": HELLO, "prompt": "hello", **extra}
        call = asyncio.create_task(http.post(path, json=body, timeout=60))
        async with asyncio.timeout(30):
            await cluster.begun.acquire()
            if "n" in extra:  # the others begin once the prompt has been computed
                cluster.pace.allow(1)
                await cluster.begun.acquire()
                await cluster.begun.acquire()
            call.cancel()
            for turn in cluster.turns:
                await turn.ended.wait()
    assert {turn.finish and turn.finish.reason for turn in cluster.turns} == {"cancelled"}


async def test_an_error_in_the_middle_of_a_stream_is_told_and_ends_it() -> None:
    cluster = FakeCluster()

    def breaks(context: Any) -> int:
        raise Unavailable("no model actor came back")

    cluster.model = breaks
    async with toy_openai(cluster) as client:
        stream = await client.chat.completions.create(model="toy", messages=HELLO, stream=True)
        with pytest.raises(APIError, match="no model actor came back") as failure:
            _ = [chunk async for chunk in stream]
    assert (failure.value.code, failure.value.type) == ("unavailable", "server_error")


async def test_hints_reach_the_cluster_and_prewarming_computes_the_prompt_and_answers_nothing() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster) as client:
        warmed = await client.chat.completions.create(
            model="toy",
            messages=HELLO,
            prompt_cache_key="chat 1",
            extra_body={"prompt_cache_options": {"prewarm": True}},
        )
        await client.chat.completions.create(
            model="toy",
            messages=HELLO,
            max_tokens=1,
            extra_headers={"session-id": "chat 2"},
            extra_body={"prompt_cache_options": {"ttl": "30m"}},
        )
        with pytest.raises(BadRequestError):
            await client.chat.completions.create(
                model="toy", messages=HELLO, extra_body={"prompt_cache_options": {"ttl": "1 week"}}
            )
    assert cluster.hints == ["chat 1", "chat 2"]
    assert cluster.keeps_s == [0, 1800]
    assert cluster.warmths == ["kept", "kept"]
    assert [turn.request.distribution for turn in cluster.turns] == [1, None]
    assert (warmed.choices[0].message.content, warmed.choices[0].finish_reason) == ("", "stop")
    assert warmed.usage is not None
    assert (warmed.usage.completion_tokens, warmed.usage.prompt_tokens > 0) == (0, True)


async def test_a_stream_that_has_nothing_to_say_is_kept_alive_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)
    cluster = FakeCluster()
    cluster.pace.hold()
    async with serving(build_app(cluster, ApiSettings())) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        body = {"messages": HELLO, "max_tokens": 2, "stream": True}
        lines = []
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                lines.append(line)
                if line.startswith(": "):
                    cluster.pace.release()
    chunks = [line for line in lines if line.startswith("data: ")]
    assert (len(chunks), chunks[-1]) == (5, "data: [DONE]")
    assert any(line.startswith(": ") for line in lines)


async def test_an_answer_that_is_awaited_for_long_ends_its_turn_when_its_stream_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)
    cluster = FakeCluster()
    cluster.pace.hold()
    async with serving(build_app(cluster, ApiSettings())) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        body = {"messages": HELLO, "max_tokens": 2, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": "):
                    break
        async with asyncio.timeout(30):
            await cluster.turns[0].ended.wait()
    assert cluster.turns[0].finish is not None
    assert cluster.turns[0].finish.reason == "cancelled"
