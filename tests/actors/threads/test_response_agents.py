"""Agents as models of ``/v1/responses``, for OpenAI's own client; bodies and events are held to the Open Responses
document.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_chat_agents import client_of
from tests.actors.threads.test_promises import called
from tests.api.http.openai.responses.oracle import check_response, events_of

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    "strict": False,
}


async def respond(caller: Caller, said: Any, status: int = 200, **fields: Any) -> Json:
    body: Json = await caller.ask("POST", "/v1/responses", {"model": "agent/helper", "input": said, **fields}, status)
    if status == 200:
        check_response(body)
    return body


def kinds_of(response: Json) -> list[str]:
    return [item["type"] for item in response["output"]]


def said_in(response: Json) -> str:
    return "".join(item["content"][0]["text"] for item in response["output"] if item["type"] == "message")


async def test_a_run_is_a_response_whose_items_are_its_steps(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("add", a=1, b=2), metadata={"of": "mine"})
        assert kinds_of(made) == ["function_call", "function_call_output", "message"]
        call, result, message = made["output"]
        assert (call["name"], call["arguments"], result["output"]) == ("add", '{"a": 1, "b": 2}', "3")
        assert call["call_id"] == result["call_id"]
        assert (message["content"][0]["text"], made["status"], made["model"]) == ("told 3", "completed", "agent/helper")
        assert made["metadata"] == {"of": "mine"}
        run_id = (await caller.ask("GET", f"/api/threads/{made['id'][5:37]}/blocks"))["blocks"][0]["run_id"]
        usage = (await caller.ask("GET", f"/api/runs/{run_id}"))["run"]["usage"]
        assert made["usage"]["input_tokens"] == usage["prompt_tokens"]
        assert made["usage"]["output_tokens"] == usage["completion_tokens"]
        assert await caller.ask("GET", f"/v1/responses/{made['id']}") == made
        assert RECORDED == ["add 1 2"]
        failing = await respond(caller, called("fail", why="rain"))
        assert failing["output"][1]["status"] == "incomplete"
        assert "rain" in failing["output"][1]["output"]


async def test_a_stream_tells_the_same_as_the_whole(small: SmallCluster) -> None:
    async with calling(small) as caller:
        asked = f"{called('add', a=1, b=2)}\n{called('letters', text='é😀')}"
        body = {"model": "agent/helper", "input": asked, "stream": True}
        events = events_of(await caller.http.post("/v1/responses", json=body))
        end = events[-1]["response"]
        assert kinds_of(end) == ["function_call"] * 2 + ["function_call_output"] * 2 + ["message"]
        assert said_in(end) == "told 3, é\n😀"
        assert end["output"][3]["output"] == "é\n😀"
        assert await caller.ask("GET", f"/v1/responses/{end['id']}") == end
    async with client_of(small) as client:
        async with client.responses.stream(model="agent/helper", input="say hello") as stream:
            assert [event.type async for event in stream][-1] == "response.completed"
            assert (await stream.get_final_response()).output_text == "hello"


async def test_a_response_goes_on_after_another_in_its_thread_or_in_a_fork_of_it(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await respond(caller, [{"role": "user", "content": "say one"}])
        second = await respond(caller, "say two", previous_response_id=first["id"])
        assert second["id"][:37] == first["id"][:37], "it is the same thread"
        listed = said_in(await respond(caller, "list", previous_response_id=second["id"]))
        told = "system: Help. | user: say one | assistant: one"
        assert listed == f"{told} | user: say two | assistant: two | user: list"
        branch = await respond(caller, "list", previous_response_id=first["id"])
        assert branch["id"][:37] != first["id"][:37]
        assert said_in(branch) == f"{told} | user: list"
        history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        anew = await respond(caller, [*history, {"role": "user", "content": "list"}])
        assert said_in(anew) == "system: Help. | user: a | assistant: b | user: list"
        for text in ("say kept", "list"):
            named = await respond(caller, text, conversation="mine")
        assert said_in(named) == "system: Help. | user: say kept | assistant: kept | user: list"
        assert {one["context_id"] for one in (await caller.ask("GET", "/api/threads"))["threads"]} >= {"mine"}


@pytest.mark.parametrize("is_stateless", [False, True])
async def test_a_tool_of_the_callers_ends_the_response_and_its_result_goes_on_with_the_run(
    small: SmallCluster, is_stateless: bool
) -> None:
    async with calling(small) as caller:
        asked = [{"role": "user", "content": f"{called('look', at='sky')}\n{called('add', a=1, b=2)}"}]
        made = await respond(caller, asked, tools=[LOOK], store=not is_stateless)
        assert (made["status"], kinds_of(made)) == (
            "completed",
            ["function_call", "function_call", "function_call_output"],
        )
        call = made["output"][0]
        assert (call["name"], call["arguments"]) == ("look", '{"at": "sky"}')
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "blue"}
        if not is_stateless:
            refused = await respond(caller, "and?", 400, previous_response_id=made["id"])
            assert call["call_id"] in refused["error"]["message"]
        before: Json = {} if is_stateless else {"previous_response_id": made["id"]}
        sent = [*asked, *made["output"], result] if is_stateless else [result]
        for _ in range(2):  # again it begins nothing
            told = await respond(caller, sent, tools=[LOOK], store=not is_stateless, **before)
            assert (kinds_of(told), said_in(told)) == (["message"], "told blue, 3")
        run = (await caller.ask("GET", f"/api/threads/{made['id'][5:37]}/blocks"))["blocks"][0]["run_id"]
        usage = (await caller.ask("GET", f"/api/runs/{run}"))["run"]["usage"]
        both = [one["usage"]["output_tokens"] for one in (made, told)]
        assert min(both) > 0
        assert sum(both) == usage["completion_tokens"]
        status = 404 if is_stateless else 200
        for response in (made, told):
            found = await caller.ask("GET", f"/v1/responses/{response['id']}", None, status)
            if not is_stateless:
                assert (found["output"], found["usage"]) == (response["output"], response["usage"])
        more = [*sent, {"role": "user", "content": "say on"}]
        on = await respond(caller, more, tools=[LOOK], store=not is_stateless, **before)
        assert said_in(on).endswith("on")
        assert RECORDED == ["add 1 2"]


async def test_all_calls_of_the_caller_are_answered_at_once(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}")
        results = [
            {"type": "function_call_output", "call_id": call["call_id"], "output": text}
            for call, text in zip(made["output"], "ab", strict=True)
        ]
        refused = await respond(caller, results[:1], 400, previous_response_id=made["id"])
        assert made["output"][1]["call_id"] in refused["error"]["message"]
        assert said_in(await respond(caller, results, previous_response_id=made["id"])) == "told a, b"


async def test_limits_failures_and_what_no_response_can_have(small: SmallCluster) -> None:
    async with calling(small) as caller:
        cut = await respond(caller, "say " + "a" * 40, max_output_tokens=8)
        assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert said_in(cut) == "a" * 8
        stopped = await respond(caller, "\n".join([called("add", a=1, b=2)] * 2), max_tool_calls=1)
        assert (stopped["status"], stopped["incomplete_details"]) == ("incomplete", {"reason": "max_tool_calls"})
        await respond(caller, called("pay", amount=20), 409)
        wrong: Json
        for wrong in (
            {"tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}}]},
            {"text": {"format": {"type": "json_object"}}},
            {"said": []},
            {"said": [{"role": "assistant", "content": "hi"}]},
            {"tool_choice": {"type": "function", "name": "nothing"}},
        ):
            await respond(caller, **{"said": "x", **wrong}, status=400)
        await respond(caller, "x", 404, model="agent/nobody")
        for missing in ("resp_x", f"resp_{'0' * 32}r1"):
            await respond(caller, "x", 404, previous_response_id=missing)
            await caller.ask("GET", f"/v1/responses/{missing}", None, 404)
        await caller.ask("POST", "/v1/responses/input_tokens", {"model": "agent/helper", "input": "x"}, 400)


async def test_a_response_in_the_background_is_found_and_cancelled(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("hold", name="a"), background=True)
        assert made["status"] == "in_progress"
        async with asyncio.timeout(30):
            while not RECORDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await caller.ask("GET", f"/v1/responses/{made['id']}"))["status"] == "in_progress"
        for _ in range(2):
            cancelled = await caller.ask("POST", f"/v1/responses/{made['id']}/cancel")
            check_response(cancelled)
            assert cancelled["status"] == "cancelled"
        HELD["a"].set()


async def test_responses_of_another_owner_are_not_there(tmp_path: Path) -> None:
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
    async with scripted_cluster(tmp_path) as small:
        async with client_of(small, settings, ada_key) as ada, client_of(small, settings, bob_key) as bob:
            made = await ada.responses.create(model="agent/helper", input="say mine")
            assert (await ada.responses.retrieve(made.id)).output_text == "mine"
            with pytest.raises(openai.NotFoundError):
                await bob.responses.retrieve(made.id)
            with pytest.raises(openai.NotFoundError):
                await bob.responses.create(model="agent/helper", input="x", previous_response_id=made.id)
            with pytest.raises(openai.NotFoundError):
                await bob.responses.cancel(made.id)
