"""The Python client with agents, over connections that break."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from api.client import ChatHistory, Client, RunFailed, StreamingResponse, Tag
from api.errors import AgentNotFound, AlreadyAnswered, BlockNotFound, IdempotencyConflict, ThreadDeleted
from api.http.app import build_app
from api.settings import ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.test_promises import ADD, called
from tests.api.cutting_proxy import proxying
from tests.api.live_server import serving


@pytest_asyncio.fixture
async def client(small: SmallCluster) -> AsyncIterator[Client]:
    async with serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as url, Client(url) as client:
        yield client


async def streamed(response: StreamingResponse) -> list[tuple[str, str]]:
    """Kind and text of each block, as its pieces come."""
    found: list[tuple[str, str]] = []
    async for block in response.file.stream():
        pieces = [piece async for piece in block.stream()]
        assert "".join(pieces) == block.text
        found.append((block.view.kind, block.text))
    return found


async def test_a_prompt_is_streamed_block_by_block(client: Client) -> None:
    response = await client.agent("helper").async_prompt(ADD)
    assert [one for one in await streamed(response) if one[0] != "status"] == [
        ("message", ADD),
        ("tool_call", '{"a": 1, "b": 2}'),
        ("tool_result", "3"),
        ("message", "told 3"),
    ]
    run = await response.task.wait()
    assert (response.task.state, run.usage.tool_calls) == ("succeeded", 1)
    history = ChatHistory(response.file)
    said, asked = await history.last_agent_message(), await history.last_user_message()
    assert said is not None
    assert asked is not None
    assert (said.text, said.chat_role, said.tags) == ("told 3", "assistant", (Tag("chat", "role", "assistant"),))
    assert asked.text == ADD
    [result] = await history.get_messages(kinds=["tool_result"])
    assert result.view.parts[0].value == 3


async def test_connections_that_break_at_any_byte_lose_and_repeat_nothing(small: SmallCluster) -> None:
    async with (
        serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as server,
        proxying(server) as (url, proxy),
    ):
        async with Client(url, patience_s=30) as client:
            response = await client.agent("helper").async_prompt(called("letters", text="añb😀c" * 5))
            await response.task.wait()
            whole = await streamed(response)
            proxy.cut()
            proxy.limits = [3000, 2500, 1, 4000, 3333, 2801, 3500]
            assert await streamed(response) == whole
            assert proxy.num_cut >= 5
        assert whole[-1] == ("message", f"told {chr(10).join('añb😀c' * 5)}")


async def test_an_ask_is_answered_and_a_failed_run_raises(client: Client) -> None:
    response = await client.agent("helper").async_prompt("\n".join([called("pay", amount=20)] * 2), "named")
    assert (await response.task.wait()).state == "waiting"
    assert response.task.state == "running"
    ask, other = await response.file.blocks(["ask"])
    assert ask.view.ask is not None
    assert ask.view.ask.type == "approval"
    await response.task.answer(ask.id, approve=True)
    with pytest.raises(AlreadyAnswered):
        await client.task(response.task.id).answer(ask.id, approve=True)
    await response.task.answer(other.id, approve=False)
    assert (await response.task.wait()).state == "succeeded"

    limits = {"max_tokens": 5}
    again = await client.agent("helper").async_prompt("say 1234567", context_keys={"a": 1}, limits=limits)
    with pytest.raises(RunFailed, match=r"failed \(budget\): the model said as many tokens as it may"):
        await again.task.wait()
    held = await client.agent("helper").async_prompt(called("hold", name="z"), "named")
    assert held.file.id == response.file.id
    await held.task.cancel()
    with pytest.raises(RunFailed, match=r"cancelled \(user\)"):
        await held.task.wait()


async def test_agents_and_threads_are_listed_and_deleted(client: Client) -> None:
    assert "helper" in [agent.name for agent in await client.agents()]
    with pytest.raises(AgentNotFound):
        await client.agent("nobody").async_prompt("hello")
    response = await client.agent("plain").async_prompt("say hello", "mine")
    await response.task.wait()
    [thread] = await client.threads()
    assert (thread.id, thread.context_id, thread.agent) == (response.file.id, "mine", "plain")
    assert await client.thread(thread.id).describe() == thread.model_copy(
        update={"last_used_at": (await client.thread(thread.id).describe()).last_used_at}
    )
    await response.file.delete()
    with pytest.raises(ThreadDeleted):
        await client.thread(thread.id).describe()
    assert await client.threads() == ()


async def test_what_was_said_is_changed_in_a_fork(client: Client) -> None:
    first = await client.agent("helper").async_prompt("say one")
    await first.task.wait()
    asked, said = await first.file.blocks()
    fork = await first.file.fork(0)
    edited = await client.agent("helper").async_prompt("say other", fork.id)
    await edited.task.wait()
    assert [block.text for block in await fork.blocks()] == ["say other", "other"]
    for after in (said, said.id, said.view.seq):
        fork = await client.thread(first.file.id).fork(after, idempotency_key="twice" if after == said.id else None)
        assert [block.text for block in await fork.blocks()] == ["say one", "one"]
    assert (await first.file.fork(said, idempotency_key="twice")).id not in (fork.id, first.file.id)
    with pytest.raises(IdempotencyConflict):
        await first.file.fork(asked, idempotency_key="twice")
    assert len(await client.threads()) == 5
    with pytest.raises(BlockNotFound):
        await first.file.fork("nothing")
