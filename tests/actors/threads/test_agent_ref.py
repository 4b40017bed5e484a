"""Agents for a Python caller in the cluster, without HTTP."""

from __future__ import annotations

import asyncio

import pytest

from api.callers.agent_ref import PromptResponse
from api.callers.tasks import RunFailed
from api.errors import (
    AgentNotFound,
    AlreadyAnswered,
    IdempotencyConflict,
    InvalidRequest,
    ThreadDeleted,
    ThreadNotFound,
)
from api.threads.commands import Limits
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.test_promises import ADD, called


async def streamed(response: PromptResponse) -> list[tuple[str, str]]:
    """Kind and text of each block, as its pieces come; statuses are left out."""
    found: list[tuple[str, str]] = []
    async for block in response.file.stream():
        pieces = [piece async for piece in block.stream()]
        assert "".join(pieces) == block.text
        found.append((block.view.kind, block.text))
    return [one for one in found if one[0] != "status"]


async def test_a_prompt_is_streamed_block_by_block_as_over_http(small: SmallCluster) -> None:
    response = await small.greenroom.agent("helper").async_prompt(ADD, labels={"color": "red"})
    expected = [("message", ADD), ("tool_call", '{"a": 1, "b": 2}'), ("tool_result", "3"), ("message", "told 3")]
    assert await streamed(response) == expected
    run = await response.task.wait()
    assert (response.task.state, run.usage.tool_calls, run.labels) == ("succeeded", 1, {"color": "red"})
    assert await streamed(response) == expected, "from where the run begins, each time"
    [last] = await response.file.blocks(["message"], ["assistant"], limit=1, latest_first=True)
    async with calling(small) as caller:
        assert [text_of(block) for block in await caller.blocks(response.file.id)] == [ADD, last.text]
        over_http = await caller.prompt("say more", response.file.id)
    thread = await small.greenroom.agent("helper").thread(response.file.id)
    assert [block.text for block in await thread.blocks()] == [ADD, "told 3", "say more", "more"]
    assert [block.text for block in await thread.blocks(run_id=over_http["run"]["id"])] == ["say more", "more"]
    assert (await thread.describe()).agent == "helper"


async def test_a_stream_goes_on_over_the_death_of_the_threads_actor(small: SmallCluster) -> None:
    response = await small.greenroom.agent("helper").async_prompt("say " + "añb😀c" * 5)
    kinds: list[str] = []
    async for block in response.file.stream():
        small.kill_inferlet(response.file.id)
        kinds += [block.view.kind] if block.view.kind != "status" else []
        assert "".join([piece async for piece in block.stream()]) == block.text
    assert kinds == ["message", "message"]
    assert (await response.task.wait()).state == "succeeded"
    assert (await response.file.blocks())[-1].text == "añb😀c" * 5


async def test_asks_are_answered_and_runs_steered_cancelled_and_failed(small: SmallCluster) -> None:
    helper = small.greenroom.agent("helper")
    asking = await helper.async_prompt(called("pay", amount=20), "named")
    assert (await asking.task.wait()).state == "waiting"
    assert asking.task.state == "running"
    [ask] = await asking.file.blocks(["ask"])
    await asking.task.answer(ask.id, approve=True)
    with pytest.raises(AlreadyAnswered):
        await asking.task.answer(ask.id, approve=True)
    assert (await asking.task.wait()).state == "succeeded"
    assert RECORDED == ["pay 20"]

    held = await helper.async_prompt(called("hold", name="ref"), "named")
    assert held.file.id == asking.file.id
    queued = await helper.async_prompt("say queued", "named", if_busy="queue")
    assert queued.task.state == "waiting"
    async with asyncio.timeout(30):
        async for block in held.file.stream(["tool_call"]):
            assert block.view.name == "hold"
            await held.task.steer("say steered")
            HELD["ref"].set()
    assert (await held.task.wait()).state == "succeeded"
    assert [block.text for block in await held.file.blocks(roles=["assistant"])][-1] == "steered"
    await queued.task.wait()

    failed = await helper.async_prompt("say 1234567", context_keys={"b": 1, "a": 2}, limits=Limits(max_tokens=5))
    with pytest.raises(RunFailed, match=r"failed \(budget\): the model said as many tokens as it may"):
        await failed.task.wait()
    left = await helper.async_prompt(called("pick"), context_keys={"a": 2, "b": 1})
    assert left.file.id == failed.file.id
    await left.task.cancel()
    with pytest.raises(RunFailed, match=r"cancelled \(user\)"):
        await left.task.wait()
    assert (await left.task.refresh()).reason == "user"


async def test_threads_are_an_owners_forked_and_deleted(small: SmallCluster) -> None:
    agent = small.greenroom.agent("helper", "ada")
    with pytest.raises(AgentNotFound):
        await small.greenroom.agent("nobody").async_prompt("hello")
    with pytest.raises(InvalidRequest):
        await agent.async_prompt("hello", "name", context_keys={"a": 1})
    with pytest.raises(InvalidRequest):
        await agent.async_prompt("")
    first = await agent.async_prompt("say one", "mine", idempotency_key="once")
    await first.task.wait()
    again = await agent.async_prompt("say one", "mine", idempotency_key="once")
    assert again.task.id == first.task.id
    with pytest.raises(IdempotencyConflict):
        await agent.async_prompt("say two", "mine", idempotency_key="once")
    with pytest.raises(ThreadNotFound):
        await small.greenroom.agent("helper", "bob").thread(first.file.id)
    fork = await first.file.fork((await first.file.blocks())[-1])
    more = await agent.async_prompt("list", fork.id)
    await more.task.wait()
    assert (await fork.blocks())[-1].text == "system: Help. | user: say one | assistant: one | user: list"
    await first.file.delete()
    with pytest.raises(ThreadDeleted):
        await agent.thread(first.file.id)
    assert len(await fork.blocks()) == 4
