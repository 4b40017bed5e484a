"""Threads over the death of their actors, at every point of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from actors.inferlets.history import since_checkpoint
from actors.inferlets.records import Checkpointed, decode
from api.agents import Agent
from api.threads.commands import Prompt
from api.tools import Tool
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED, add, pay
from tests.actors.threads.caller import Caller, Event, Json, calling, check, text_of
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import ADD, called

TWO_CALLS = f"{ADD}\n{called('weather', city='Oslo')}\n{called('pay', amount=20)}"


async def test_a_thread_goes_on_from_its_last_checkpoint_over_any_death(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.begin("say begun"))["thread_id"]
        expected = ["system: Help.", "user: say begun", "assistant: begun"]
        for number in range(12):
            begun = await caller.begin(f"say {number}", thread_id)
            events: list[Event] = []
            async for event in caller.stream(begun["stream_url"]):
                if len(events) == number:
                    small.kill_inferlet(thread_id)
                events.append(event)
            check(events, begun["run_id"])
            cut = await caller.begin("say cut", thread_id, limits={"max_tokens": 1})
            await caller.wait(cut["run_id"])
            if number % 3 == 0:
                small.kill_inferlet(thread_id)
            expected += [f"user: say {number}", f"assistant: {number}", "user: say cut", "assistant: c"]
        listed = text_of((await caller.prompt("list", thread_id))["blocks"][-1])
        assert listed == " | ".join([*expected, "user: list"])
        run = await caller.ask("POST", f"/api/runs/{thread_id}.r0/cancel", {}, 202)
        assert run["run"]["state"] == "succeeded"
        steered = await caller.ask("POST", f"/api/runs/{thread_id}.r0/steer", {"prompt": "more"}, 409)
        assert steered["error"]["code"] == "run_ended"
    records = [decode(line) for line in await small.inferlets.recorded(thread_id)]
    assert sum(isinstance(record, Checkpointed) for record in records) >= 12
    start, after = since_checkpoint(records)
    assert start.beginning.notes
    assert len(after) < 60, "what is run again is short"


@pytest.mark.parametrize("agent", ["safe", "helper"])
async def test_a_death_at_any_event_changes_nothing_but_that_a_tool_may_be_lost(
    small: SmallCluster, agent: str
) -> None:
    async with calling(small) as caller:
        undisturbed, run = await _run(small, caller, agent)
        assert run["state"] == "succeeded"
        assert sorted(RECORDED) == ["add 1 2", "pay 20", "weather Oslo"]
        for start in range(4):
            RECORDED.clear()
            blocks, run = await _run(small, caller, agent, kills_at=range(start, start + 24, 8))
            if agent == "helper":  # whose tools are not run twice, whatever that costs
                assert len(set(RECORDED)) == len(RECORDED)
                assert run["state"] == "succeeded" or run["reason"] == "worker_lost"
            if agent == "safe" or run["state"] == "succeeded":
                assert blocks == undisturbed
                assert sorted(set(RECORDED)) == ["add 1 2", "pay 20", "weather Oslo"]


async def _run(
    small: SmallCluster, caller: Caller, agent: str, kills_at: Sequence[int] = ()
) -> tuple[list[Json], Json]:
    """The final blocks, without what differs from run to run, and the run. Its actor dies at these events."""
    first = await caller.prompt("say first", agent=agent)
    begun = await caller.begin(TWO_CALLS, first["thread_id"], agent=agent)
    events: list[Event] = []
    async for event in caller.stream(begun["stream_url"]):
        if len(events) in kills_at:
            small.kill_inferlet(begun["thread_id"])
        events.append(event)
        block = event.data.get("block", {})
        if event.name == "block.created" and block["kind"] == "ask":
            answers = {"answers": [{"ask_id": block["id"], "approve": True}]}
            answered = await caller.http.post(f"/api/runs/{begun['run_id']}/answers", json=answers)
            assert answered.status_code in (202, 409), "a run that has lost a tool takes none"
    final = check(events, begun["run_id"])
    ordered = sorted(final.values(), key=lambda block: (block["turn"], block["kind"], str(block["call_id"])))
    varying = ("id", "seq", "run_id", "agent", "created_at", "closed_at", "ask", "answer")
    blocks = [{name: value for name, value in block.items() if name not in varying} for block in ordered]
    return blocks, events[-1].data["run"]


async def test_a_tool_whose_process_dies_fails_the_run_and_is_not_run_again(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("hold", name="x"))
        await caller.until(begun, "block.created", kind="status", name=None)
        small.kill_inferlet(begun["thread_id"])
        run = await caller.wait(begun["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "worker_lost")
        final = check(await caller.events(begun), begun["run_id"])
        [result] = [block for block in final.values() if block["kind"] == "tool_result"]
        assert "might have run" in result["error"]["message"]
        HELD["x"].set()
        answer = await caller.prompt("say on", begun["thread_id"])
        assert text_of(answer["blocks"][0]) == "on"
        assert RECORDED.count("hold x") == 1


async def test_a_thread_goes_on_when_its_agent_was_changed_and_knows_what_had_ended(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt(ADD))["thread_id"]
        await rests(small, thread_id)  # so that its last checkpoint is durable
        monkeypatch.setattr("tests.actors.threads.agents.helper", Agent("helper", tools=[pay], statuses=False))
        listed = text_of((await caller.prompt("list", thread_id))["blocks"][-1])
        assert listed.endswith("tool: 3 | assistant: told 3 | user: list")
        await rests(small, thread_id)
        asked = await caller.begin(called("pay", amount=20), thread_id)
        await caller.until(asked, "block.created", kind="ask")
        queued = await caller.begin("say queued", thread_id)
        small.kill_inferlet(thread_id)
        monkeypatch.setattr("tests.actors.threads.agents.helper", Agent("helper", tools=[add], system="Other."))
        for begun, expected in ((asked, ("failed", "worker_lost")), (queued, ("succeeded", None))):
            events = await caller.events(begun)
            run = events[-1].data["run"]
            assert (run["state"], run["reason"]) == expected
            check(events, begun["run_id"])
        listed = text_of((await caller.prompt("list", thread_id))["blocks"][-1])
        assert listed.endswith(" | user: say queued | assistant: queued | user: list")
        small.kill_inferlet(thread_id)
        assert (await caller.prompt("say on", thread_id))["run"]["state"] == "succeeded"
        seqs = [block["seq"] for block in await caller.blocks(thread_id, "kinds=message,tool_call,ask")]
        assert seqs == sorted(set(seqs))


async def test_a_thread_waits_for_its_agent_where_that_cannot_be_loaded(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        asked = await caller.begin(called("pay", amount=20), thread_id)
        ask = (await caller.until(asked, "block.created", kind="ask")).data["block"]["id"]
        with monkeypatch.context() as patched:
            patched.delattr("tests.actors.threads.agents.helper")
            small.kill_inferlet(thread_id)
            for _ in range(2):
                body = {"prompt": "say two", "context_id": thread_id}
                refused = await caller.ask("POST", "/api/agents/helper/prompt", body, 503)
                assert "cannot be loaded" in refused["error"]["message"]
                assert (await caller.ask("GET", f"/api/runs/{asked['run_id']}"))["run"]["state"] == "waiting"
            await rests(small, thread_id)
        await caller.answer(asked["run_id"], ask_id=ask, approve=True)
        assert (await caller.wait(asked["run_id"]))["state"] == "succeeded"
        assert text_of((await caller.prompt("say on", thread_id))["blocks"][-1]) == "on"


async def test_a_tool_that_is_safe_to_retry_is_run_again(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("hold_safely", name="y"))
        async with asyncio.timeout(30):
            while not RECORDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        small.kill_inferlet(begun["thread_id"])
        HELD["y"].set()
        run = await caller.wait(begun["run_id"])
        assert run["state"] == "succeeded"
        assert RECORDED == ["hold y", "hold y"]


@pytest.mark.parametrize("is_passive", [False, True])
async def test_a_thread_whose_process_died_knows_what_was_said(small: SmallCluster, is_passive: bool) -> None:
    async with calling(small) as caller:
        begun = await caller.begin("say one")
        await caller.wait(begun["run_id"])
        await caller.prompt(ADD, begun["thread_id"])
        before = await caller.blocks(begun["thread_id"], "kinds=message,tool_call,tool_result")
        if is_passive:
            await rests(small, begun["thread_id"])
        else:
            small.kill_inferlet(begun["thread_id"])
        assert await caller.blocks(begun["thread_id"], "kinds=message,tool_call,tool_result") == before
        answer = await caller.prompt("list", begun["thread_id"])
        listed = text_of(answer["blocks"][0])
        assert listed.startswith(f"system: Help. | user: say one | assistant: one | user: {ADD} | assistant: <call>")
        assert "tool: 3 | assistant: told 3 | user: list" in listed


async def test_a_queued_prompt_has_its_history_and_tools_after_a_death(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.begin(called("hold", name="a"), "t")
        second = await caller.begin(called("hold", name="b"), "t")
        thread = await small.greenroom.agents.find("helper", "t", "")
        prompt = Prompt(called("look"), history=(("user", "one"), ("assistant", "two")), tools=(Tool("look"),))
        asked = (await thread.prompt(prompt)).run.id
        HELD["a"].set()
        await caller.wait(first["run_id"])
        async with asyncio.timeout(30):
            while "hold b" not in RECORDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        small.kill_inferlet(thread.thread_id)
        assert (await caller.wait(second["run_id"]))["reason"] == "worker_lost"
        assert (await caller.wait(asked))["state"] == "waiting"
        [ask] = await caller.blocks(thread.thread_id, f"kinds=ask&run_id={asked}")
        await caller.answer(asked, ask_id=ask["id"], value="seen")
        assert (await caller.wait(asked))["state"] == "succeeded"
        HELD["b"].set()
        listed = text_of((await caller.prompt("list", "t"))["blocks"][-1])
        assert "user: one | assistant: two | user: call look" in listed
