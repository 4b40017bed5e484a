"""The agents of this folder on the embedded model, over everything but Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from actors.settings import InferletSettings, ModelSettings
from api.client import ChatHistory, Client
from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import embedded_model
from tests.actors.small_cluster import SmallCluster
from tests.api.live_server import serving

FOLDER = Path(__file__).parent


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    model = ModelSettings("pocket", embedded_model(), report_interval_s=0.05, poll_interval_s=0.001)
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, model=model, pool_size=0) as small:
        async with serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as url, Client(url) as client:
            yield client


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
