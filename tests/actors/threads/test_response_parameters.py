"""What of a request an agent has of its own, or not at all."""

from __future__ import annotations

import pytest

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Json, calling
from tests.actors.threads.test_response_agents import respond


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"include": ["message.output_text.logprobs"]}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"include": ["computer_call_output.output.image_url"]}, "include"),
        ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options"),
        ({"text": {"format": {"type": "json_object"}}}, "text"),
        ({"truncation": "some"}, "truncation"),
        ({"background": True, "store": False}, "background"),
        ({"conversation": "mine", "previous_response_id": "resp_x"}, "conversation"),
        ({"stop": "x"}, "stop"),
        ({"n": 2}, "n"),
    ],
)
async def test_what_no_run_can_give_is_refused_before_one_begins(small: SmallCluster, fields: Json, param: str) -> None:
    async with calling(small) as caller:
        refused = await respond(caller, "say hello", 400, **fields)
        assert refused["error"]["param"] == param
        assert (await caller.ask("GET", "/api/threads"))["threads"] == []


async def test_what_an_agent_has_of_its_own_is_left_out_with_a_warning(small: SmallCluster) -> None:
    async with calling(small) as caller:
        body: Json = {"temperature": 0.5, "seed": 3, "parallel_tool_calls": False}
        for path, said in (
            ("/v1/responses", {"input": "say hello", "instructions": "Be rude."}),
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "say hello"}], "stop": "l"}),
        ):
            for is_streamed in (False, True):
                answer = await caller.http.post(
                    path, json={"model": "agent/helper", **said, **body, "stream": is_streamed}
                )
                assert answer.status_code == 200
                warned = answer.headers["Warning"]
                last = "instructions" if "input" in said else "stop"
                for name in (*body, last):
                    assert f"{name} was left out: an agent has its own" in warned
        plain: Json = {"model": "agent/helper", "input": "say hello", "parallel_tool_calls": True, "truncation": "auto"}
        answer = await caller.http.post("/v1/responses", json=plain)
        assert (answer.status_code, answer.json()["truncation"], "Warning" in answer.headers) == (200, "auto", False)


@pytest.mark.parametrize(
    "fields",
    [{"logprobs": True}, {"response_format": {"type": "json_object"}}, {"prompt_cache_options": {"prewarm": True}}],
)
async def test_a_chat_is_refused_what_no_run_can_give(small: SmallCluster, fields: Json) -> None:
    async with calling(small) as caller:
        body = {"model": "agent/helper", "messages": [{"role": "user", "content": "say hello"}], **fields}
        refused = await caller.ask("POST", "/v1/chat/completions", body, 400)
        assert (refused["error"]["code"], refused["error"]["param"]) == ("unsupported", *fields)
        assert (await caller.ask("GET", "/api/threads"))["threads"] == []
