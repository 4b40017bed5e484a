"""Threads that begin with what another one has said and done up to a block."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.journal.keys import INFERLET, journal_key
from api.settings import ApiKey, ApiSettings
from tests.actors.fake_engine import FakeEngine
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling, check, text_of
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import ADD, called

EVERYTHING = "kinds=message,reasoning,status,tool_call,tool_result,ask,handoff,error&children=true&limit=1000"
OWN = {"id", "run_id", "seq", "parent_run_id"}


async def fork(caller: Caller, thread_id: str, after: object, status: int = 201, **options: Any) -> Any:
    """The id of the fork, or the error."""
    answer = await caller.ask("POST", f"/api/threads/{thread_id}/fork", {"after": after}, status, **options)
    return answer["thread"]["id"] if status == 201 else answer["error"]["code"]


async def said(caller: Caller, thread_id: str) -> list[str]:
    """The texts of its transcript."""
    return [text_of(block) for block in await caller.blocks(thread_id)]


async def known(caller: Caller, thread_id: str) -> str:
    """What its model has read."""
    return text_of((await caller.prompt("list", thread_id))["blocks"][-1])


def without_ids(blocks: list[Json]) -> list[Json]:
    """All that a fork has in common with its source."""
    return [{name: value for name, value in block.items() if name not in OWN} for block in blocks]


async def test_a_fork_has_the_history_up_to_a_block_and_both_go_on_by_themselves(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one", "mine", labels={"color": "red"}))["thread_id"]
        await caller.prompt(ADD, "mine")
        last = (await caller.blocks(thread_id))[-1]
        await caller.prompt("say three", "mine")
        fork_id = await fork(caller, thread_id, last["id"])
        assert fork_id == (await caller.ask("GET", f"/api/threads/{fork_id}"))["thread"]["context_id"]
        assert await said(caller, fork_id) == ["say one", "one", ADD, "told 3"]
        whole = [block for block in await caller.blocks(thread_id, EVERYTHING) if block["seq"] <= last["seq"]]
        copied = await caller.blocks(fork_id, EVERYTHING)
        assert without_ids(copied) == without_ids(whole)
        assert [one["id"] for one in copied] == [f"{fork_id}.b{one['id'].partition('.b')[2]}" for one in whole]
        assert {block["run_id"].partition(".")[0] for block in copied} == {fork_id}
        run = (await caller.ask("GET", f"/api/runs/{fork_id}.r0"))["run"]
        assert (run["state"], run["labels"], run["prompt"]) == ("succeeded", {"color": "red"}, "say one")
        assert (run["thread_id"], run["context_id"]) == (fork_id, fork_id)
        begun = await caller.begin("say four", fork_id)
        check(await caller.events(begun), begun["run_id"])
        assert (await known(caller, fork_id)).endswith(
            "assistant: told 3 | user: say four | assistant: four | user: list"
        )
        assert (await known(caller, thread_id)).endswith(
            "assistant: told 3 | user: say three | assistant: three | user: list"
        )
        ids = [block["id"] for block in await caller.blocks(fork_id, EVERYTHING)]
        assert len(ids) == len(set(ids))
        entries = [event async for event in caller.stream(f"/api/threads/{fork_id}/stream?run_id={begun['run_id']}")]
        assert entries[0].data["seq"] > 1


async def test_the_whole_log_of_a_fork_is_one_of_a_thread(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt(f"{ADD}\n{called('fail', why='so')}"))["thread_id"]
        await caller.prompt("say two", thread_id)
        blocks = await caller.blocks(thread_id, EVERYTHING)
        for block in blocks:
            fork_id = await fork(caller, thread_id, block["seq"])
            last = await caller.begin("say end", fork_id)
            await caller.wait(last["run_id"])
            events = []
            async for event in caller.stream(f"/api/threads/{fork_id}/stream"):
                events.append(event)
                if event.name == "run.ended" and event.data["run"]["id"] == last["run_id"]:
                    break
            assert [event.data["seq"] for event in events if "seq" in event.data][0] == 1
            run_ids = list(dict.fromkeys(event.data["run"]["id"] for event in events if "run" in event.data))
            for run_id in run_ids:
                check([event for event in events if run_id in str(event.data)], run_id)


@pytest.mark.parametrize("num_models", [1, 2])
async def test_a_forks_first_step_computes_only_what_is_new(tmp_path: Path, num_models: int) -> None:
    async with scripted_cluster(tmp_path, num_models=num_models) as small, calling(small) as caller:
        long = await caller.prompt("say " + "x" * 500)
        thread_id = long["thread_id"]
        shared = long["run"]["usage"]
        await caller.prompt("say " + "y" * 300, thread_id)
        for after in (long["blocks"][-1]["id"], (await caller.blocks(thread_id))[2]["seq"]):
            fork_id = await fork(caller, thread_id, after)
            async with asyncio.timeout(30):
                while not any(_holds(engine, fork_id) for engine in small.engines):  # noqa: ASYNC110 - before it is asked anything
                    await asyncio.sleep(0.01)
            usage = (await caller.prompt("say more", fork_id))["run"]["usage"]
            assert usage["cached_tokens"] >= shared["prompt_tokens"] + shared["completion_tokens"] - 1


def _holds(engine: FakeEngine, thread_id: str) -> bool:
    return any(context_id.startswith(thread_id) for context_id in engine.contexts)


async def test_a_fork_whose_context_is_gone_knows_the_same(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one")
        fork_id = await fork(caller, first["thread_id"], first["blocks"][-1]["id"])
        small.kill_model()
        await small.start_model(0)
        await caller.ask("DELETE", f"/api/threads/{first['thread_id']}", None, 204)
        assert await known(caller, fork_id) == "system: Help. | user: say one | assistant: one | user: list"


async def test_a_fork_within_a_run_closes_what_was_said(small: SmallCluster) -> None:
    async with calling(small) as caller:
        await caller.prompt("say hello", "mine")
        answer = await caller.prompt(f"{ADD}\n{called('weather', city='Oslo')}", "mine")
        blocks = await caller.blocks(answer["thread_id"], f"run_id={answer['run']['id']}&{EVERYTHING}")
        asked, first_call, _, result, *_ = [block for block in blocks if block["kind"] != "status"]
        before = "system: Help. | user: say hello | assistant: hello | "
        fork_id = await fork(caller, answer["thread_id"], asked["id"])
        listed = f"{before}user: {asked['parts'][0]['text']} | assistant: (there is no answer) | user: list"
        assert await known(caller, fork_id) == listed
        run = (await caller.ask("GET", f"/api/runs/{fork_id}.r{answer['run']['id'].rpartition('.r')[2]}"))["run"]
        assert (run["state"], run["reason"]) == ("cancelled", "interrupted")
        for block, num_calls, results in (
            (first_call, 1, ["Error: there is no result of this call"]),
            (result, 2, ["3", "Error: there is no result of this call"]),
        ):
            fork_id = await fork(caller, answer["thread_id"], block["id"])
            listed = await known(caller, fork_id)
            assert listed.startswith(f"{before}user: {asked['parts'][0]['text']} | assistant: <call>")
            assert listed.count('"name"') == num_calls
            told = " | ".join(f"tool: {one}" for one in results)
            assert listed.endswith(f"</call> | {told} | assistant: (there is no answer) | user: list")
        assert sorted(RECORDED) == ["add 1 2", "weather Oslo"], "nothing is run again"


async def test_a_running_thread_is_forked_before_what_is_open(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one", "mine")
        thread_id = first["thread_id"]
        begun = await caller.begin(f"{called('pick')}\n{called('hold', name='x')}", "mine")
        await caller.wait(begun["run_id"], 0.0)
        queued = await caller.begin("say queued", "mine")
        ask = (await caller.until(begun, "block.created", kind="ask")).data["block"]
        assert await fork(caller, thread_id, ask["id"], 409) == "thread_busy"
        assert await fork(caller, thread_id, ask["seq"], 409) == "thread_busy"
        call = (await caller.until(begun, "block.completed", kind="tool_call", name="pick")).data["block"]
        for after, num_messages in ((first["blocks"][-1]["id"], 2), (call["id"], 3)):
            fork_id = await fork(caller, thread_id, after)
            assert len(await caller.blocks(fork_id)) == num_messages
            listed = await known(caller, fork_id)
            assert listed.startswith("system: Help. | user: say one | assistant: one | user: ")
            assert ("Error: there is no result" in listed) == (num_messages == 3)
            assert "queued" not in listed
        HELD["x"].set()
        await caller.answer(begun["run_id"], ask_id=ask["id"], value="a file")
        assert (await caller.wait(queued["run_id"]))["state"] == "succeeded"


async def test_a_fork_after_nothing_is_an_empty_thread_of_the_same_agent(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one", agent="quiet"))["thread_id"]
        fork_id = await fork(caller, thread_id, 0)
        assert (await caller.ask("GET", f"/api/threads/{fork_id}"))["thread"]["agent"] == "quiet"
        assert await caller.blocks(fork_id, EVERYTHING) == []
        begun = await caller.begin("list", fork_id, agent="quiet")
        await caller.wait(begun["run_id"])
        assert await said(caller, fork_id) == ["list", "user: list"]


async def test_a_fork_of_a_fork_and_of_what_was_rolled_back(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one")
        undone = await caller.begin(called("hold", name="y"), first["thread_id"])
        await caller.until(undone, "block.completed", kind="tool_call")
        await caller.ask("POST", f"/api/runs/{undone['run_id']}/cancel", {"mode": "rollback"}, 202)
        await caller.wait(undone["run_id"])
        await caller.prompt("say two", first["thread_id"])
        thread_id = first["thread_id"]
        for _ in range(3):
            thread_id = await fork(caller, thread_id, (await caller.blocks(thread_id))[-1]["id"])
        assert await said(caller, thread_id) == ["say one", "one", "say two", "two"]
        last = (await caller.blocks(thread_id))[-1]["id"]
        expected = "system: Help. | user: say one | assistant: one | user: say two | assistant: two | user: list"
        assert await known(caller, thread_id) == expected
        assert await known(caller, await fork(caller, thread_id, last)) == expected


async def test_a_fork_after_a_handoff_goes_on_with_the_other_agent(small: SmallCluster) -> None:
    async with calling(small) as caller:
        handed = await caller.prompt(called("transfer_to_teller"), agent="boss")
        thread_id = handed["thread_id"]
        blocks = [block for block in await caller.blocks(thread_id, EVERYTHING) if block["kind"] == "message"]
        assert blocks[-1]["agent"] == "teller"
        within = (await caller.blocks(thread_id, "kinds=status&limit=1000"))[-1]
        assert within["agent"] == "teller"
        for after in (blocks[-1], within):
            fork_id = await fork(caller, thread_id, after["id"])
            answer = await caller.prompt("list", fork_id, agent="boss")
            assert answer["run"]["agent"] == "teller"
            listed = text_of(answer["blocks"][-1])
            assert listed.startswith("system: Tell. | user: call transfer_to_teller")
            assert "tool: teller goes on." in listed


async def test_a_fork_has_the_runs_below_its_runs(small: SmallCluster) -> None:
    async with calling(small) as caller:
        answer = await caller.prompt(called("expert", prompt=ADD), agent="boss")
        thread_id, run_id = answer["thread_id"], answer["run"]["id"]
        blocks = await caller.blocks(thread_id, EVERYTHING)
        below = [block for block in blocks if block["parent_run_id"]]
        fork_id = await fork(caller, thread_id, blocks[-1]["id"])
        runs = [run_id.replace(thread_id, fork_id), below[0]["run_id"].replace(thread_id, fork_id)]
        found = [(await caller.ask("GET", f"/api/runs/{one}"))["run"] for one in runs]
        assert [run["state"] for run in found] == ["succeeded", "succeeded"]
        assert found[1]["parent_run_id"] == runs[0]
        assert len(await caller.blocks(fork_id, EVERYTHING)) == len(blocks)
        fork_id = await fork(caller, thread_id, below[1]["id"])
        found = [(await caller.ask("GET", f"/api/runs/{one.replace(runs[0][:32], fork_id)}"))["run"] for one in runs]
        assert [run["reason"] for run in found] == ["interrupted", "parent"]


async def test_a_fork_that_was_acknowledged_survives_every_death(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one")
        fork_id = await fork(caller, first["thread_id"], first["blocks"][-1]["id"])
        for number in range(3):
            small.kill_inferlet(fork_id)
            small.restart_directory()
            begun = await caller.begin(f"say {number}", fork_id)
            async for event in caller.stream(begun["stream_url"]):
                if event.name == "block.created" and event.data["block"]["kind"] == "message":
                    small.kill_inferlet(fork_id)
                    break
            assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
        assert await said(caller, fork_id) == ["say one", "one", *(t for n in range(3) for t in (f"say {n}", str(n)))]
        more = " | ".join(f"user: say {number} | assistant: {number}" for number in range(3))
        expected = f"system: Help. | user: say one | assistant: one | {more} | user: list"
        assert await known(caller, fork_id) == expected


async def test_a_fork_that_cannot_be_leaves_nothing(small: SmallCluster) -> None:
    keys = ApiSettings(api_keys=tuple(ApiKey.of(f"key-of-{owner}", owner) for owner in ("ada", "bob")))
    async with calling(small, keys, "key-of-ada") as ada, calling(small, keys, "key-of-bob") as bob:
        first = await ada.prompt("say one")
        thread_id = first["thread_id"]
        other = await ada.prompt("say other")
        streams = await small.journal.streams()
        assert await fork(bob, thread_id, 0, 404) == "thread_not_found"
        assert await fork(ada, "0" * 32, 0, 404) == "thread_not_found"
        last = await ada.blocks(thread_id)
        for after in (999, 1, f"{thread_id}.b999", other["blocks"][-1]["id"], "x", last[-1]["seq"] + 1):
            assert await fork(ada, thread_id, after, 404) == "block_not_found", after
        for after in (-1, True, None, [], ""):
            assert await fork(ada, thread_id, after, 400) == "invalid_request"
        assert {stream.key for stream in await small.journal.streams()} == {stream.key for stream in streams}


async def test_the_same_fork_with_the_same_key_is_one_thread(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await caller.prompt("say one")
        thread_id, after = first["thread_id"], first["blocks"][-1]["id"]
        headers = {"Idempotency-Key": "once"}
        found = await asyncio.gather(*(fork(caller, thread_id, after, headers=headers) for _ in range(5)))
        assert len(set(found)) == 1
        assert await fork(caller, thread_id, 0, 409, headers=headers) == "idempotency_conflict"
        assert await fork(caller, thread_id, after) not in (thread_id, found[0])
        threads = (await caller.ask("GET", "/api/threads"))["threads"]
        assert len(threads) == 3


@pytest.mark.parametrize("has_ended", [False, True])
async def test_a_fork_begins_with_the_source_of_its_thread(small: SmallCluster, has_ended: bool) -> None:
    source = 'from api.agents import Agent\nown = Agent(name="own", system="{}")\n'
    async with calling(small) as caller:
        await small.greenroom.agents.upload(source.format("Old."), "own.py")
        first = await caller.prompt("say one", agent="own")
        await small.greenroom.agents.upload(source.format("New."), "own.py")
        if has_ended:
            small.kill_inferlet(first["thread_id"])
        fork_id = await fork(caller, first["thread_id"], 0)
        assert (await small.journal.info(journal_key(INFERLET, fork_id))) is not None
        answer = await caller.prompt("list", fork_id, agent="own")
        assert text_of(answer["blocks"][-1]) == "system: Old. | user: list"
