"""Agents as models of ``/v1/chat/completions``, for OpenAI's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.caller import calling
from tests.actors.threads.test_promises import called

Messages = list[Any]


@asynccontextmanager
async def client_of(
    small: SmallCluster, settings: ApiSettings | None = None, key: str = "none"
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with calling(small, settings) as caller:
        url = str(caller.http.base_url).rstrip("/")
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def test_an_agent_is_listed_and_answers_with_what_it_has_found_out(small: SmallCluster) -> None:
    async with client_of(small) as client:
        names = [model.id async for model in client.models.list()]
        assert {"fake", "agent/helper", "agent/plain"} <= set(names)
        assert (await client.models.retrieve("agent/helper")).id == "agent/helper"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("agent/nobody")
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="agent/nobody", messages=[user("hi")])
        answer = await client.chat.completions.create(model="agent/helper", messages=[user(called("add", a=1, b=2))])
        [choice] = answer.choices
        assert (choice.message.content, choice.finish_reason) == ("told 3", "stop")
        assert answer.usage is not None
        assert answer.usage.completion_tokens > len("told 3")
        assert RECORDED == ["add 1 2"]
        earlier: Messages = [{"role": "system", "content": "x"}, user("one"), {"role": "assistant", "content": "two"}]
        told = await client.chat.completions.create(model="agent/helper", messages=[*earlier, user("list")])
        assert told.choices[0].message.content == "system: Help. | user: one | assistant: two | user: list"


async def test_an_answer_is_streamed_with_its_usage(small: SmallCluster) -> None:
    async with client_of(small) as client:
        stream = await client.chat.completions.create(
            model="agent/helper", messages=[user("say é😀 hello")], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "é😀 hello"
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert chunks[0].choices[0].delta.role == "assistant"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_of_the_callers_is_called_and_its_result_goes_on_with_the_run(
    small: SmallCluster, stream: bool
) -> None:
    async with client_of(small) as client:
        asked = f"{called('pick', kind='file')}\n{called('add', a=1, b=2)}"
        if stream:
            async with client.chat.completions.stream(model="agent/helper", messages=[user(asked)]) as events:
                answer: Any = await events.get_final_completion()
        else:
            answer = await client.chat.completions.create(model="agent/helper", messages=[user(asked)])
        [choice] = answer.choices
        assert choice.finish_reason == "tool_calls"
        [call] = choice.message.tool_calls
        assert (call.function.name, call.function.arguments) == ("pick", '{"kind": "file"}')
        made: Messages = [user(asked), choice.message.model_dump(exclude_none=True)]
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "a.txt"}
        for _ in range(2):  # again it begins nothing
            told = await client.chat.completions.create(model="agent/helper", messages=[*made, result])
            assert told.choices[0].message.content == "told a.txt, 3"
        for _ in range(2):
            both = await client.chat.completions.create(model="agent/helper", messages=[*made, result, user("say on")])
            assert (both.choices[0].message.content or "").endswith("on")
        listed = await client.chat.completions.create(model="agent/helper", messages=[*made, result, user("list")])
        assert (listed.choices[0].message.content or "").count("user: say on") == 1, "sent again it is said once"
        with pytest.raises(openai.BadRequestError, match="this agent"):
            await client.chat.completions.create(model="agent/safe", messages=[*made, result])
        other: Any = {**result, "content": "b.txt"}
        with pytest.raises(openai.ConflictError):
            await client.chat.completions.create(model="agent/helper", messages=[*made, other])
        assert RECORDED == ["add 1 2"]


@pytest.mark.parametrize("is_choice", [False, True])
async def test_tools_that_a_caller_brings_stand_beside_those_of_the_agent(small: SmallCluster, is_choice: bool) -> None:
    look: Any = {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
    }
    choice: Any = {"type": "function", "function": {"name": "look"}}
    asked: Messages = [user(f"{called('look', at='sky')}\n{called('add', a=1, b=2)}")]
    async with client_of(small) as client:
        more: Any = {"tool_choice": choice} if is_choice else {}
        if is_choice:
            asked = [user(called("look", at="sky"))]
        answer = await client.chat.completions.create(model="agent/helper", messages=asked, tools=[look], **more)
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == ("look", '{"at": "sky"}')
        asked.append(answer.choices[0].message.model_dump(exclude_none=True))
        asked.append({"role": "tool", "tool_call_id": call.id, "content": "blue"})
        told = await client.chat.completions.create(model="agent/helper", messages=asked, tools=[look])
        assert told.choices[0].message.content == ("told blue" if is_choice else "told blue, 3")


async def test_limits_and_what_no_chat_can_answer(small: SmallCluster) -> None:
    async with client_of(small) as client:
        cut = await client.chat.completions.create(
            model="agent/helper", messages=[user("say " + "a" * 40)], max_completion_tokens=8
        )
        assert (cut.choices[0].finish_reason, cut.choices[0].message.content) == ("length", "a" * 8)
        with pytest.raises(openai.ConflictError, match="/api/runs/"):
            await client.chat.completions.create(model="agent/helper", messages=[user(called("pay", amount=20))])
        for wrong in (
            {"n": 2},
            {"tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]},
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            {"tool_choice": {"type": "function", "function": {"name": "g"}}},
            {"messages": [{"role": "assistant", "content": "hi"}]},
            {"messages": [user("x"), {"role": "tool", "tool_call_id": "call_0_0_0-nothing", "content": "x"}]},
        ):
            body: Any = {"model": "agent/helper", "messages": [user("x")], **wrong}
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(**body)


async def test_another_owner_cannot_answer_a_call(small: SmallCluster) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with client_of(small, settings, ada_key) as ada, client_of(small, settings, bob_key) as bob:
        answer = await ada.chat.completions.create(model="agent/helper", messages=[user(called("pick"))])
        [call] = answer.choices[0].message.tool_calls or []
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "a.txt"}
        with pytest.raises(openai.BadRequestError):
            await bob.chat.completions.create(model="agent/helper", messages=[user("x"), result])
        told = await ada.chat.completions.create(model="agent/helper", messages=[user("x"), result])
        assert told.choices[0].message.content == "told a.txt"
