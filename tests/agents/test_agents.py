"""The agents of this folder on the embedded model, over everything but Ray."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from transformers import AutoTokenizer

from actors.settings import InferletSettings, ModelSettings
from api.client import ChatHistory, Client
from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import embedded_model
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.mcp_agents import COMMAND
from tests.api.live_server import serving

FOLDER = Path(__file__).parent
MAX_TEMPLATE_TOKENS = 16
"""Around a message, and before the answer."""


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    model = ModelSettings("pocket", embedded_model(), report_interval_s=0.05, poll_interval_s=0.001)
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, model=model, pool_size=0) as small:
        async with serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as url, Client(url) as client:
            yield client


SOURCE = """
from api.agents import Agent, mcp

counter = Agent(name="counter", tools=[mcp("things", command={command!r}, env={{"RECORD": {record!r}}}, tools=["add"])])
"""


async def test_calls_of_a_tool_of_an_mcp_server_are_valid_under_its_schema(client: Client, tmp_path: Path) -> None:
    record = tmp_path / "record"
    (tmp_path / "counter.py").write_text(SOURCE.format(command=COMMAND, record=str(record)))
    await client.upload_agents(tmp_path / "counter.py")
    response = await client.agent("counter").async_prompt("Add two numbers.", tool_choice=["add", "add", "none"])
    run = await response.task.wait()
    assert (run.state, run.usage.tool_calls) == ("succeeded", 2)
    calls, results = await response.file.blocks(["tool_call"]), await response.file.blocks(["tool_result"])
    arguments = [call.view.parts[0].value for call in calls]
    assert [result.text for result in results] == [str(one["a"] + one["b"]) for one in arguments]
    added = [f"add {one['a']} {one['b']} {one.get('mood', 'calm')}" for one in arguments]
    assert record.read_text().splitlines() == ["started", *added]


async def test_a_researcher_looks_up_asks_and_writes_down(client: Client) -> None:
    await client.upload_agents(FOLDER / "researcher.py")
    prompt = "What is an otter? Write it down."
    choice = ["look_up", "write_down", "none"]
    response = await client.agent("researcher").async_prompt(prompt, "notes", tool_choice=choice)
    assert (await response.task.wait()).state == "waiting"
    [ask] = await response.file.blocks(["ask"])
    await response.task.answer(ask.id, approve=True)
    run = await response.task.wait()
    assert (run.state, run.usage.model_calls, run.usage.tool_calls) == ("succeeded", 3, 2)
    assert run.usage.cached_tokens > run.usage.prompt_tokens / 2

    looked_up, written = await response.file.blocks(["tool_call"])
    found, noted = await response.file.blocks(["tool_result"])
    assert looked_up.view.parts[0].value.keys() == {"word"}
    assert isinstance(found.view.parts[0].value, dict)
    arguments = written.view.parts[0].value
    assert noted.text == f"Written down under {arguments['title']!r}: {arguments['note']}"
    said = await ChatHistory(response.file).last_agent_message()
    assert said is not None
    assert said.view.run_id == run.id

    again = await client.agent("researcher").async_prompt("Thank you.", "notes", tool_choice="none")
    assert again.file.id == response.file.id
    after = await again.task.wait()
    assert (after.state, after.usage.model_calls) == ("succeeded", 1)
    assert after.usage.cached_tokens > 0


async def test_the_second_step_of_a_run_computes_its_new_tokens_only(client: Client) -> None:
    """That is: the result, and what the template has around it."""
    await client.upload_agents(FOLDER / "researcher.py")
    agent, prompt = client.agent("researcher"), "What is an otter?"
    two = await agent.async_prompt(prompt, tool_choice=["look_up", "none"])
    both = (await two.task.wait()).usage
    [result] = await two.file.blocks(["tool_result"])
    alone = await agent.async_prompt(prompt, tool_choice="none")
    first = (await alone.task.wait()).usage
    assert (both.model_calls, first.model_calls) == (2, 1)
    num_read = both.prompt_tokens - first.prompt_tokens
    num_new = len(AutoTokenizer.from_pretrained(embedded_model()).encode(json.dumps(result.view.parts[0].value)))
    assert num_read > first.prompt_tokens + num_new
    assert both.cached_tokens >= num_read - num_new - MAX_TEMPLATE_TOKENS


async def test_a_supervisor_has_specialists_work_and_hands_over(client: Client) -> None:
    await client.upload_agents(FOLDER / "supervisor.py")
    choice = ["arithmetician", "linguist", "transfer_to_host", "none"]
    response = await client.agent("supervisor").async_prompt("What is 2 + 3?", tool_choice=choice)
    run = await response.task.wait()
    assert (run.state, run.agent) == ("succeeded", "host")
    total, said = [block for block in await response.file.blocks(["tool_result"]) if block.view.state != "failed"][:2]
    assert total.view.parts[0].value.keys() == {"total"}
    assert said.view.name == "linguist"
    assert run.usage.of_children is not None
    assert run.usage.of_children.model_calls >= 2
    [handoff] = await response.file.blocks(["handoff"])
    assert handoff.view.name == "host"


async def test_a_companion_knows_in_a_later_thread_what_it_was_told(client: Client) -> None:
    await client.upload_agents(FOLDER / "companion.py")
    agent = client.agent("companion")
    told = await agent.async_prompt("My name is Ada.", tool_choice=["remember", "none"])
    assert (await told.task.wait()).state == "succeeded"
    [call] = await told.file.blocks(["tool_call"])
    arguments = call.view.parts[0].value
    later = await agent.async_prompt("What is my name?", tool_choice=["recall", "none"])
    assert (await later.task.wait()).state == "succeeded"
    [recalled] = await later.file.blocks(["tool_result"])
    assert recalled.view.parts[0].value == {arguments["topic"]: arguments["text"]}
    assert later.file.id != told.file.id


async def test_an_editor_drafts_asks_and_publishes_what_is_approved(client: Client) -> None:
    await client.upload_agents(FOLDER / "editor.py")
    response = await client.agent("editor").async_prompt("Herons.")
    for answer in ({"value": "calm"}, {"approve": False, "reason": "not yet"}):
        assert (await response.task.wait()).state == "waiting"
        [ask] = [block for block in await response.file.blocks(["ask"]) if block.view.state == "open"]
        await response.task.answer(ask.id, **answer)
    run = await response.task.wait()
    assert (run.state, run.usage.model_calls, run.usage.tool_calls) == ("succeeded", 2, 3)
    assert run.usage.of_children is not None
    assert run.usage.of_children.model_calls == 1
    [draft] = await response.file.blocks(["reasoning"])
    calls = await response.file.blocks(["tool_call"])
    assert [call.view.name for call in calls] == ["critic", "count_words", "publish"]
    assert calls[1].view.parts[0].value == {"text": draft.text}
    said = await ChatHistory(response.file).last_agent_message()
    assert said is not None
    assert said.text == "It is not published: not yet"
