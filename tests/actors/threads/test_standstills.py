"""Threads whose runs end their processes, by a limit or by themselves: the run fails, and the thread goes on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import psutil
import pytest

from actors.inferlets.history import Standstill, standstill
from actors.inferlets.records import Called, Checkpointed, Delivered, PutAway, Record, Restarted, Resumed, Woken
from api.threads.commands import Prompt
from api.tools import Tool
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling, check, text_of
from tests.actors.threads.test_promises import called

CALLED = Called(1, "NextOutput", "")
LOST = Restarted("worker_lost", "")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([CALLED, Resumed(), CALLED, Resumed(), CALLED, Delivered("", 1), Resumed()], Standstill(3)),
        ([Resumed(), Resumed(), Woken(1, 1, 0.0), Resumed()], Standstill(1)),
        ([Resumed(), Resumed(), Checkpointed(0, 0, 0, 0, 0.0, None)], Standstill()),
        ([Resumed(), PutAway(), Resumed()], Standstill(1)),
        ([Resumed(), Resumed(), Resumed(), LOST, Resumed()], Standstill(1, True)),
        ([LOST, Resumed(), LOST, Resumed(), LOST, Resumed()], Standstill(3, True)),
    ],
)
def test_lives_that_bring_a_program_no_further_are_counted(records: list[Record], expected: Standstill) -> None:
    assert standstill(records) == expected


async def test_a_run_over_a_limit_fails_and_its_thread_goes_on(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(process: psutil.Process) -> object:
        if is_held := RECORDED[-1:] == ["hold a"]:
            RECORDED.append("too much")
        return SimpleNamespace(rss=1 << 41 if is_held else 0)

    monkeypatch.setattr(psutil.Process, "memory_info", memory)
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        run = await _failed(caller, await caller.begin(called("hold", name="a"), thread_id))
        assert "MiB of memory" in run["error"]["message"]
        HELD["a"].set()
        listed = text_of((await caller.prompt("list", thread_id))["blocks"][-1])
        assert listed.endswith("user: say one | assistant: one | user: list")


async def test_a_retry_safe_tool_that_always_ends_its_process_fails_the_run(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        begun = await caller.begin(called("hold_safely", name="a"), thread_id)
        for number in range(4):
            async with asyncio.timeout(30):
                while len(RECORDED) <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            small.kill_inferlet(thread_id)
        run = await _failed(caller, begun)
        assert "died 4 times at the same point" in run["error"]["message"]
        assert len(RECORDED) == 4
        HELD["a"].set()
        assert text_of((await caller.prompt("say on", thread_id))["blocks"][-1]) == "on"


@pytest.mark.parametrize("is_noted", [False, True])
async def test_prompts_that_wait_for_their_place_outlive_a_restart(small: SmallCluster, is_noted: bool) -> None:
    async with calling(small) as caller:
        first = await caller.begin(called("hold", name="first") if is_noted else "say one", "t")
        thread = await small.greenroom.agents.find("helper", "t", "")
        poison = await caller.begin(called("hold_safely", name="a"), "t")
        prompt = Prompt(called("look"), history=(("user", "a"), ("assistant", "b")), tools=(Tool("look"),))
        asked = (await thread.prompt(prompt)).run.id
        dropped = await caller.begin("say no", "t")
        last = await caller.begin("list", "t")
        await caller.ask("POST", f"/api/runs/{dropped['run_id']}/cancel", status=202)
        await thread.steer(last["run_id"], "and more")
        HELD["first"].set()
        await caller.wait(first["run_id"])
        for number in range(4):
            async with asyncio.timeout(30):
                while RECORDED.count("hold a") <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            small.kill_inferlet(thread.thread_id)
        await _failed(caller, poison)
        assert (await caller.wait(asked))["state"] == "waiting"
        [ask] = await caller.blocks(thread.thread_id, f"kinds=ask&run_id={asked}")
        await caller.answer(asked, ask_id=ask["id"], value="seen")
        assert (await caller.wait(last["run_id"]))["state"] == "succeeded"
        assert (await caller.wait(dropped["run_id"]))["state"] == "cancelled"
        assert text_of((await caller.blocks(thread.thread_id))[-1]) == "list\n\nand more"
        listed = {run["id"]: run["state"] for run in (await caller.ask("GET", "/api/runs"))["runs"]}
        assert listed[asked] == listed[last["run_id"]] == "succeeded"
        assert listed[poison["run_id"]] == "failed"
        HELD["a"].set()
        known = text_of((await caller.prompt("list", "t"))["blocks"][-1])
        assert "user: a | assistant: b | user: call look" in known
        assert known.endswith("told seen | user: list\n\nand more | assistant: list\n\nand more | user: list")


async def test_a_thread_that_is_over_a_limit_whatever_it_does_ends(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        monkeypatch.setattr(psutil.Process, "memory_info", lambda process: SimpleNamespace(rss=1 << 41))
        prompt = {"prompt": "a", "context_id": thread_id}
        async with asyncio.timeout(60):
            while (answer := await caller.http.post("/api/agents/helper/prompt", json=prompt)).is_success:  # noqa: ASYNC110
                await asyncio.sleep(1)
        assert answer.json()["error"]["code"] == "inferlet_ended"
        assert [text_of(block) for block in await caller.blocks(thread_id)][:2] == ["say one", "one"]


async def _failed(caller: Caller, begun: Json) -> Json:
    events = await caller.events(begun)
    check(events, begun["run_id"])
    run: Json = events[-1].data["run"]
    assert (run["state"], run["reason"]) == ("failed", "worker_lost")
    return run
