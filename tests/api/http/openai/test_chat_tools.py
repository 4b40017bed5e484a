"""Tools in chat completions, on a toy model that says what a test tells it, through openai-python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from openai import BadRequestError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Message
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.toy_openai import toy_openai

MODEL = replace(TOY, answers=AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>")))
CALLS = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call></s>'
)
HELLO: list[Any] = [{"role": "user", "content": "Weather?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": PARAMETERS}}


def cluster_that_says(answer: str) -> FakeCluster:
    cluster = FakeCluster(MODEL)
    cluster.model = toy_model.says(answer)
    return cluster


async def answered(answer: str, **call: Any) -> ChatCompletion:
    async with toy_openai(cluster_that_says(answer)) as client:
        completion: ChatCompletion = await client.chat.completions.create(
            model="toy", **({"messages": HELLO, "tools": [WEATHER]} | call)
        )
    return completion


async def streamed(answer: str, **call: Any) -> list[ChatCompletionChunk]:
    async with toy_openai(cluster_that_says(answer)) as client:
        stream = await client.chat.completions.create(
            model="toy", stream=True, **({"messages": HELLO, "tools": [WEATHER]} | call)
        )
        return [chunk async for chunk in stream]


async def test_text_then_calls_are_a_message_with_both_and_the_reason_is_the_calls() -> None:
    (choice,) = (await answered("Let me see. " + CALLS)).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me see.")
    calls = choice.message.tool_calls or []
    assert [(call.type, call.function.name, call.function.arguments) for call in calls if call.type == "function"] == [
        ("function", "weather", '{"city": "Rome"}'),
        ("function", "weather", '{"city": "Oslo"}'),
    ]
    assert len({call.id for call in calls}) == 2


async def test_calls_alone_have_no_content() -> None:
    assert (await answered(CALLS)).choices[0].message.content is None


async def test_a_streamed_call_has_its_id_and_name_once_and_then_its_arguments() -> None:
    chunks = await streamed("Let me see. " + CALLS)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Let me see."
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    for index, city in enumerate(("Rome", "Oslo")):
        first, *others = [call for call in deltas if call.index == index]
        assert (first.type, first.function and first.function.name) == ("function", "weather")
        assert first.id
        assert all((call.id, call.type, call.function and call.function.name) == (None, None, None) for call in others)
        assert "".join(call.function.arguments or "" for call in others if call.function) == f'{{"city": "{city}"}}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_a_call_that_the_length_cuts_says_length() -> None:
    completion = await answered(CALLS, max_tokens=60)
    assert completion.choices[0].finish_reason == "length"
    (call,) = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.arguments.startswith('{"city": "R')


async def test_reasoning_is_told_apart_and_counted_also_without_tools() -> None:
    completion = await answered("<think>Hm.</think>Hello</s>", tools=[])
    assert completion.choices[0].message.content == "Hello"
    assert (completion.choices[0].message.model_extra or {})["reasoning_content"] == "Hm."
    assert completion.usage is not None
    assert completion.usage.completion_tokens_details is not None
    assert 3 <= (completion.usage.completion_tokens_details.reasoning_tokens or 0) <= 3 + len("</think>")
    chunks = await streamed("<think>Hm.</think>Hello</s>", tools=[])
    extra = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") for chunk in chunks]
    assert "".join(extra) == "Hm."


async def test_with_tool_choice_none_calls_are_plain_text() -> None:
    completion = await answered("<tool_call></s>", tool_choice="none")
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("<tool_call>", "stop")


async def test_a_stop_cuts_the_text_before_a_call_and_log_probabilities_come_with_calls() -> None:
    completion = await answered("See STOP " + CALLS, stop="STOP")
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("See ", "stop")
    called = await answered(CALLS, logprobs=True)
    assert called.choices[0].logprobs is not None
    assert called.usage is not None
    assert len(called.choices[0].logprobs.content or []) == called.usage.completion_tokens - 1


async def test_tools_calls_and_results_reach_the_engine() -> None:
    cluster = cluster_that_says("ok</s>")
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    strict: Any = {"type": "function", "function": {"name": "other", "strict": True}}
    messages: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sunny"}]},
    ]
    async with toy_openai(cluster) as client:
        await client.chat.completions.create(
            model="toy",
            messages=messages,
            tools=[WEATHER, strict],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            parallel_tool_calls=False,
        )
    (turn,) = cluster.turns
    request = turn.request
    assert request.prompt == (
        Message("user", "Weather?"),
        Message("assistant", "", "Hm.", (ToolCall("c1", "weather", '{"city": "Rome"}'),)),
        Message("tool", "sunny", tool_call_id="c1", name="weather"),
    )
    assert [(tool.name, tool.description, tool.strict) for tool in request.tools] == [
        ("weather", "Now", False),
        ("other", "", True),
    ]
    assert request.tools[1] == Tool("other", strict=True)
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice.of("weather"), False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            ToolChoice("required", ("weather",)),
        ),
    ],
)
async def test_choices_reach_the_engine(choice: Any, expected: ToolChoice) -> None:
    cluster = cluster_that_says("ok</s>")
    async with toy_openai(cluster) as client:
        await client.chat.completions.create(model="toy", messages=HELLO, tools=[WEATHER], tool_choice=choice)
    assert cluster.turns[0].request.tool_choice == expected


@pytest.mark.parametrize(
    ("call", "param", "code"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools", "unsupported_content"),
        ({"tools": [{"type": "function"}]}, "tools", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "invalid_value"),
        ({"tools": [WEATHER, WEATHER]}, "tools", "invalid_value"),
        ({"tools": [], "tool_choice": "required"}, "tools", "invalid_value"),
        ({"tool_choice": "perhaps"}, "tool_choice", "invalid_value"),
        ({"tool_choice": {"type": "function", "function": {"name": "none"}}}, "tools", "invalid_value"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice", "invalid_value"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]}]}, "messages", None),
    ],
)
async def test_what_cannot_be_is_refused_with_its_field(call: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(BadRequestError) as failure:
        await answered("x", **call)
    assert failure.value.param == param
    assert failure.value.code == (code or "unsupported_content")
