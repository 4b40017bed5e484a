"""Agents that call agents, hand over to them, and answer in a type of their own."""

from __future__ import annotations

import json
from typing import Any

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling, check, text_of
from tests.actors.threads.scripted import ScriptedEngine
from tests.actors.threads.test_promises import called


def asking(agent: str, text: str) -> str:
    """The line of a prompt that has the model call an agent."""
    return called(agent, prompt=text)


async def ended(caller: Caller, begun: Json) -> tuple[Json, list[Json], list[Json]]:
    """The run, the runs below it, and all blocks, once it has ended."""
    events = [event async for event in caller.stream(begun["stream_url"] + "&children=true")]
    runs = {event.data["run"]["id"]: event.data["run"] for event in events if "run" in event.data}
    ends = [event.data["run"]["id"] for event in events if event.name == "run.ended"]
    assert ends[-1] == begun["run_id"], "children end first"
    assert sorted(ends) == sorted(runs), "each run ends once"
    blocks = await caller.blocks(begun["thread_id"], f"run_id={begun['run_id']}&children=true&kinds={ALL}&limit=1000")
    assert all(block["state"] != "open" for block in blocks)
    return runs.pop(begun["run_id"]), list(runs.values()), blocks


async def held(caller: Caller, begun: Json) -> None:
    """Until a tool of a run below it holds."""
    watched = {**begun, "stream_url": begun["stream_url"] + "&children=true"}
    await caller.until(watched, "block.completed", kind="status", agent="expert", name=None)


ALL = "message,reasoning,status,tool_call,tool_result,ask,handoff"


def engine_of(small: SmallCluster) -> ScriptedEngine:
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    return engine


def results(blocks: list[Json], run_id: str) -> list[Any]:
    return [
        text_of(block) or block["parts"][0].get("json") if block["parts"] else block["error"]["code"]
        for block in blocks
        if block["kind"] == "tool_result" and block["run_id"] == run_id
    ]


async def test_two_calls_of_an_agent_at_once_are_runs_of_their_own_and_stay_apart(small: SmallCluster) -> None:
    async with calling(small) as caller:
        lines = [asking("expert", called("add", a=number, b=1)) for number in (1, 5)]
        begun = await caller.begin("\n".join(lines), agent="boss")
        run, children, blocks = await ended(caller, begun)
        assert [child["parent_run_id"] for child in children] == [run["id"]] * 2
        assert {child["agent"] for child in children} == {"expert"}
        assert results(blocks, run["id"]) == ["told 2", "told 6"]
        assert [results(blocks, child["id"]) for child in children] == [[2], [6]]
        answer = await caller.blocks(begun["thread_id"])
        assert [text_of(block) for block in answer] == ["\n".join(lines), "told told 2, told 6"], (
            "children are left out"
        )
        check(await caller.events(begun), run["id"])
        of_children = run["usage"].pop("of_children")
        sums = {name: sum(child["usage"][name] for child in children) for name in run["usage"]}
        assert {**of_children, "of_children": None} == {**sums, "of_children": None}
        reads = [messages for messages in engine_of(small).read if messages[0] == ("system", "Know.")]
        assert all(messages[1][1].startswith("call add") for messages in reads), "a child knows what it was asked"


async def test_an_ask_below_is_answered_at_the_run_above_which_waits_meanwhile(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(asking("expert", called("pay", amount=20)), agent="boss")
        assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
        query = f"run_id={begun['run_id']}&kinds=ask&children=true"
        [ask] = await caller.blocks(begun["thread_id"], query)
        assert ask["run_id"] == f"{begun['run_id']}c1"
        small.kill_inferlet(begun["thread_id"])
        await caller.answer(begun["run_id"], ask_id=ask["id"], approve=True)
        run, _, blocks = await ended(caller, begun)
        assert (run["state"], results(blocks, run["id"])) == ("succeeded", ["told paid 20"])
        assert RECORDED == ["pay 20"]
        again = await caller.answer(begun["run_id"], 409, ask_id=ask["id"], approve=True)
        assert again["error"]["code"] == "run_ended"


async def test_a_run_that_is_cancelled_ends_those_below_it_first(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(asking("expert", called("hold", name="below")), agent="boss")
        await held(caller, begun)
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {"mode": "rollback"}, 202)
        run, [child], blocks = await ended(caller, begun)
        assert (run["reason"], child["state"], child["reason"]) == ("rollback", "cancelled", "parent")
        assert all(block["rolled_back"] for block in blocks)


async def test_the_run_above_goes_on_where_one_below_is_cancelled(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(asking("expert", called("hold", name="below")), agent="boss")
        await held(caller, begun)
        await caller.ask("POST", f"/api/runs/{begun['run_id']}c1/cancel", {"mode": "rollback"}, 202)
        run, [child], blocks = await ended(caller, begun)
        assert (run["state"], child["reason"], results(blocks, run["id"])) == ("succeeded", "user", ["user"])
        assert not any(block["rolled_back"] for block in blocks)
        HELD["below"].set()


async def test_what_runs_below_do_counts_against_the_limits_of_the_run_above(small: SmallCluster) -> None:
    async with calling(small) as caller:
        twice = "\n".join([called("add", a=1, b=1)] * 2)
        begun = await caller.begin(asking("expert", twice), agent="thrifty")
        run, _, _ = await ended(caller, begun)
        assert (run["state"], run["usage"]["of_children"]["tool_calls"]) == ("succeeded", 2)
        begun = await caller.begin(asking("expert", "\n".join([called("add", a=1, b=1)] * 3)), agent="thrifty")
        run, [child], blocks = await ended(caller, begun)
        assert (child["state"], child["reason"]) == ("failed", "budget")
        assert results(blocks, child["id"]) == [2, 2, "not_executed"]
        begun = await caller.begin(asking("expert", called("repeated", text="x", times=500)), agent="thrifty")
        run, [child], _ = await ended(caller, begun)
        assert (run["reason"], child["reason"]) == ("budget", "budget")


async def test_runs_below_say_no_more_together_than_the_run_above_may(small: SmallCluster) -> None:
    engine_of(small).step_s = 0.001
    async with calling(small) as caller:
        prompt = "\n".join([asking("expert", "say " + "x" * 100)] * 4)
        asked = len('<tool_call>{"name": "expert", "arguments": {"prompt": "say "}}</tool_call>') + 100
        begun = await caller.begin(prompt, agent="boss", limits={"max_tokens": 4 * asked + 120})
        run, children, _ = await ended(caller, begun)
        assert (run["state"], run["reason"]) == ("failed", "budget")
        assert {child["reason"] for child in children} == {"budget"}
        assert run["usage"]["of_children"]["completion_tokens"] < 250, "120, and pieces that came at once"


async def test_a_handoff_is_a_block_and_the_next_blocks_and_runs_are_the_other_agents(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say hello", "talk", agent="boss")
        begun = await caller.begin(called("transfer_to_teller"), "talk", agent="boss")
        run, _, blocks = await ended(caller, begun)
        assert (run["agent"], run["state"]) == ("teller", "succeeded")
        [handoff] = [block for block in blocks if block["kind"] == "handoff"]
        assert (handoff["name"], handoff["agent"]) == ("teller", "boss")
        answer = next(block for block in reversed(blocks) if block["kind"] == "message")
        assert (answer["agent"], text_of(answer)) == ("teller", "told teller goes on.")
        read = engine_of(small).read[-1]
        assert read[0] == ("system", "Tell.")
        assert ("assistant", "hello") in read, "it knows what was said"
        small.kill_inferlet(first["thread_id"])
        later = await caller.prompt("list", "talk", agent="boss")
        assert later["run"]["agent"] == "teller"
        assert "system: Tell. | user: say hello" in text_of(later["blocks"][0])


async def test_the_agent_that_takes_a_run_over_brings_its_limits_for_all_of_the_run(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("transfer_to_brief"), agent="boss")
        run, _, blocks = await ended(caller, begun)
        assert (run["agent"], run["reason"], run["usage"]["completion_tokens"]) == ("brief", "budget", 75)
        assert [block["name"] for block in blocks if block["kind"] == "handoff"] == ["brief"]


async def test_a_run_that_ends_before_another_agent_goes_on_is_not_handed_over(small: SmallCluster) -> None:
    async with calling(small) as caller:
        prompt = f"{called('transfer_to_teller')}\n{called('add', a=1, b=2)}"
        begun = await caller.begin(prompt, "few", agent="boss", limits={"max_actions": 1})
        run, _, blocks = await ended(caller, begun)
        assert (run["agent"], run["reason"]) == ("boss", "budget")
        assert [block for block in blocks if block["kind"] == "handoff"] == []
        assert (await caller.prompt("say hello", "few", agent="boss"))["run"]["agent"] == "boss"


async def test_an_answer_is_of_the_agents_output_or_its_run_fails(small: SmallCluster) -> None:
    async with calling(small) as caller:
        good = {"name": "Oslo", "size": 7}
        answer = await caller.prompt(f"say {json.dumps(good)}", agent="clerk")
        assert answer["blocks"][-1]["parts"][0]["json"] == good
        begun = await caller.begin('say {"name": 3}', agent="clerk")
        run = await caller.wait(begun["run_id"])
        assert (run["state"], run["reason"]) == ("failed", "output_invalid")
        begun = await caller.begin(asking("clerk", f"say {json.dumps(good)}"), agent="boss")
        run, _, blocks = await ended(caller, begun)
        assert results(blocks, run["id"]) == [good]
