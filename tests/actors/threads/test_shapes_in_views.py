"""Agents that are functions, as the protocols of others show them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from api.agents import Prompt, ask, call, emit, status
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.shapes import script
from tests.actors.threads.test_agui import findings
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_ui_stream import chunks_of
from tests.api.http.openai.responses.oracle import check_response


@script
async def show_all(prompt: Prompt) -> None:
    """Something of each kind: calls at once, one that fails, one of an agent, an approval, and a question."""
    await emit("reasoning", "let me see")
    await emit("message", "well")
    await status("at it", "own")
    found = await asyncio.gather(call("add", a=1, b=2), call("expert", prompt=called("add", a=2, b=2)))
    with suppress(ValueError):
        await call("fail", why="so")
    paid = await call("pay", amount=20)
    dish = await ask("Which dish?", str)
    await emit("message", f"{found} {paid} {dish}")


ANSWER = "[3, 'told 4'] paid 20 soup"


async def agui(caller: Caller, run_id: str, **more: Any) -> list[Json]:
    messages = [{"id": "u1", "role": "user", "content": "show_all"}]
    body = {"threadId": "t", "runId": run_id, "messages": messages, "tools": [], "context": [], **more}
    answer = await caller.http.post("/api/agents/worker/agui", json=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


async def test_ag_ui_shows_a_function_without_a_finding(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        first = await agui(caller, "r1")
        assert findings(first) == []
        [approval] = first[-1]["outcome"]["interrupts"]
        resume: Json = {"interruptId": approval["id"], "status": "resolved", "payload": {"approved": True}}
        second = await agui(caller, "r2", resume=[resume])
        [question] = second[-1]["outcome"]["interrupts"]
        assert "toolCallId" not in question
        resume = {"interruptId": question["id"], "status": "resolved", "payload": {"value": "soup"}}
        third = await agui(caller, "r3", resume=[resume])
        assert third[-1]["outcome"] == {"type": "success"}
        said = [event["delta"] for event in third if event["type"] == "TEXT_MESSAGE_CONTENT"]
        assert "".join(said) == ANSWER
        assert RECORDED.count("pay 20") == 1


async def test_the_ui_stream_shows_a_function(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "show_all"}]}
        body = {"id": "c", "messages": [message], "trigger": "submit-message"}
        answer = await caller.http.post("/api/agents/worker/ui", json=body)
        chunks = chunks_of(answer.text)
        inputs = [one["toolName"] for one in chunks if one["type"] == "tool-input-available"]
        assert inputs == ["add", "expert", "add", "fail", "pay"], "with the calls of the run below"
        assert [one["type"] for one in chunks].count("tool-output-available") == 3
        assert [one["type"] for one in chunks].count("tool-approval-request") == 1


async def test_a_function_answers_as_a_model_of_openais_protocols(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        body = {"model": "agent/worker", "input": "call_together"}
        made = await caller.ask("POST", "/v1/responses", body)
        check_response(made)
        kinds = [item["type"] for item in made["output"]]
        assert sorted(kinds[:-1]) == ["function_call"] * 3 + ["function_call_output"] * 3
        assert made["output"][-1]["content"][0]["text"] == "['rested', 2, 4]"
        messages = [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "tell_history"},
        ]
        answer = await caller.ask("POST", "/v1/chat/completions", {"model": "agent/worker", "messages": messages})
        assert answer["choices"][0]["message"]["content"] == "user: one | assistant: two"


async def test_a_fork_within_the_run_of_a_function_knows_what_was_done(shaped: SmallCluster) -> None:
    async with calling(shaped) as caller:
        begun = await caller.begin("show_all", "t", agent="worker")
        await caller.wait(begun["run_id"])
        thread_id = begun["thread_id"]
        results = await caller.blocks(thread_id, "kinds=tool_result")
        body = {"after": results[-1]["id"]}
        fork = await caller.ask("POST", f"/api/threads/{thread_id}/fork", body, 201)
        asked = await caller.prompt("tell_history", fork["thread"]["id"], agent="worker")
        text = asked["blocks"][-1]["parts"][0]["text"]
        assert text.startswith("user: show_all | assistant: well | tool: 3 | tool: told 4 | assistant:  | tool: Error")
