"""Tools that hand parts without end, and runs that are cancelled or whose thread is deleted meanwhile."""

from __future__ import annotations

import asyncio
import time

from actors.inferlets.works import MAX_OUTPUTS
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Event, Json, calling, check, text_of
from tests.actors.threads.test_children import asking, held
from tests.actors.threads.test_promises import called


async def test_a_tool_that_hands_more_parts_than_it_may_fails_and_the_run_goes_on(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("flood"))
        run = await caller.wait(begun["run_id"])
        assert run["state"] == "succeeded", run
        [result] = await caller.blocks(begun["thread_id"], "kinds=tool_result")
        assert (result["state"], result["error"]["code"]) == ("failed", "tool_error")
        assert len(result["parts"]) == MAX_OUTPUTS
        assert text_of((await caller.prompt("say on", begun["thread_id"]))["blocks"][-1]) == "on"


async def test_a_run_is_cancelled_while_its_tool_hands_parts(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("flood"))
        await caller.until(begun, "block.delta")
        asked_at = time.monotonic()
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        run = await caller.wait(begun["run_id"])
        assert (run["state"], time.monotonic() - asked_at < 5) == ("cancelled", True)
        check(await caller.events(begun), begun["run_id"])
        assert text_of((await caller.prompt("say on", begun["thread_id"]))["blocks"][-1]) == "on"


async def test_streams_of_a_thread_that_is_deleted_in_mid_run_end_with_its_runs(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(asking("expert", called("hold", name="gone")), agent="boss")
        await held(caller, begun)
        streams = [begun["stream_url"] + "&children=true", f"/api/threads/{begun['thread_id']}/stream?children=true"]
        begins = [asyncio.Event() for _ in streams]
        reading = [asyncio.create_task(_all(caller, *one)) for one in zip(streams, begins, strict=True)]
        await asyncio.gather(*(event.wait() for event in begins))
        await caller.ask("DELETE", f"/api/threads/{begun['thread_id']}", status=204)
        for events in await asyncio.gather(*reading):
            ends = [event.data["run"] for event in events if event.name == "run.ended"]
            both = [f"{begun['run_id']}c1", begun["run_id"]]
            assert [run["id"] for run in ends] in ([], both), "a stream that comes back too late just ends"
            assert all(run["reason"] == "deleted" for run in ends)
        await caller.ask("GET", f"/api/runs/{begun['run_id']}", status=404)
        HELD["gone"].set()


async def test_an_ask_below_is_answered_at_the_run_below_and_at_no_run_again(small: SmallCluster) -> None:
    async with calling(small) as caller:
        below = f"{called('pay', amount=20)}\n{called('hold', name='both')}"
        begun = await caller.begin(asking("expert", below), agent="boss")
        watched: Json = {**begun, "stream_url": begun["stream_url"] + "&children=true"}
        ask = (await caller.until(watched, "block.created", kind="ask")).data["block"]["id"]
        await caller.answer(f"{begun['run_id']}c1", ask_id=ask, approve=True)
        for run_id in (begun["run_id"], f"{begun['run_id']}c1"):
            again = await caller.answer(run_id, 409, ask_id=ask, approve=False)
            assert again["error"]["code"] == "already_answered"
        HELD["both"].set()
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"


async def _all(caller: Caller, path: str, has_begun: asyncio.Event) -> list[Event]:
    events = []
    async for event in caller.stream(path):
        events.append(event)
        has_begun.set()
    return events
