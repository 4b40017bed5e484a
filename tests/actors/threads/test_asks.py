"""What waits for a person: approvals, questions of tools, and tools of the caller."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

import pytest

from actors.inferlets.instance import Instance
from actors.inferlets.records import Logged, decode
from api.threads.runs import Run
from tests.actors.small_cluster import Loopback, SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.caller import Caller, Json, calling, check, text_of
from tests.actors.threads.test_promises import called


async def asks_of(caller: Caller, begun: Json) -> list[Json]:
    """Those of a run, once it waits for them."""
    assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
    return await caller.blocks(begun["thread_id"], f"run_id={begun['run_id']}&kinds=ask")


async def test_a_waiting_run_takes_no_actor_and_goes_on_when_everything_died_meanwhile(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("pay", amount=20))
        [ask] = await asks_of(caller, begun)
        assert (ask["ask"]["type"], ask["state"], ask["call_id"]) == ("approval", "open", ask["ask"]["call_id"])
        await rests(small, begun["thread_id"])
        small.kill_model()
        await small.start_model(0)
        small.restart_directory()
        assert RECORDED == []
        await caller.answer(begun["run_id"], ask_id=ask["id"], approve=True)
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
        final = check(await caller.events(begun), begun["run_id"])
        assert final[ask["id"]]["answer"]["approve"] is True
        assert RECORDED == ["pay 20"]
        small.kill_inferlet(begun["thread_id"])
        answer = await caller.prompt("say on", begun["thread_id"])
        assert text_of(answer["blocks"][0]) == "on"
        assert RECORDED == ["pay 20"]


async def test_several_asks_are_answered_in_any_order_and_each_once(small: SmallCluster) -> None:
    async with calling(small) as caller:
        lines = (called("pay", amount=amount) for amount in (30, 5, 40))
        begun = await caller.begin("\n".join(lines))
        first, second = await asks_of(caller, begun)
        await caller.answer(begun["run_id"], ask_id=second["id"], approve=False, reason="too much")
        assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
        again = await caller.answer(begun["run_id"], 409, ask_id=second["id"], approve=True)
        assert again["error"]["code"] == "already_answered"
        unknown = await caller.answer(begun["run_id"], 404, ask_id="nothing", approve=True)
        assert unknown["error"]["code"] == "ask_not_found"
        unfit = await caller.answer(begun["run_id"], 400, ask_id=first["id"], value="yes")
        assert unfit["error"]["code"] == "invalid_request"
        await caller.answer(begun["run_id"], ask_id=first["id"], approve=True)
        final = check(await caller.events(begun), begun["run_id"])
        said = [text_of(block) for block in final.values() if block["kind"] == "message"]
        assert said[-1] == "told paid 30, paid 5, Error: too much"
        assert sorted(RECORDED) == ["pay 30", "pay 5"]
        late = await caller.answer(begun["run_id"], 409, ask_id=first["id"], approve=True)
        assert late["error"]["code"] == "run_ended"


async def test_a_tool_asks_twice_and_its_time_stands_meanwhile(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("order"))
        [dish] = await asks_of(caller, begun)
        assert dish["ask"]["schema"] == {"type": "string"}
        await caller.answer(begun["run_id"], ask_id=dish["id"], value="soup")
        await caller.until(begun, "block.created", kind="ask", parts=[_text("How many?")])
        _, number = await asks_of(caller, begun)
        unfit = await caller.answer(begun["run_id"], 400, ask_id=number["id"], value="two")
        assert unfit["error"]["code"] == "invalid_request"
        await caller.answer(begun["run_id"], ask_id=number["id"], value=2)
        final = check(await caller.events(begun), begun["run_id"])
        [result] = [block for block in final.values() if block["kind"] == "tool_result"]
        assert text_of(result) == f"2 soup for {result['call_id']}"
        assert RECORDED == ["order 2 soup"]


async def test_a_tool_asks_again_where_an_answer_is_not_valid_and_says_why(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("book"), agent="hurried")
        [day] = await asks_of(caller, begun)
        await caller.answer(begun["run_id"], ask_id=day["id"], value="tomorrow")
        while len(asks := await asks_of(caller, begun)) < 2:
            pass
        again = asks[1]
        assert text_of(again).startswith("When?\n")
        assert "valid date" in text_of(again)
        assert again["ask"]["schema"] == day["ask"]["schema"]
        await caller.answer(begun["run_id"], ask_id=again["id"], value="2026-03-01")
        final = check(await caller.events(begun), begun["run_id"])
        assert text_of([*final.values()][-1]) == "told booked 01.03.2026"


async def test_an_answer_that_its_thread_fails_on_is_refused_and_the_thread_goes_on(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("choose"))
        [ask] = await asks_of(caller, begun)
        assert ask["ask"]["schema"] == {"type": ["integer", "string"]}
        with monkeypatch.context() as patched:
            patched.setattr("api.agents.asks._fits", {}.__getitem__)
            failed = await caller.answer(begun["run_id"], 500, ask_id=ask["id"], value=2)
            assert failed["error"]["code"] == "internal"
        await caller.answer(begun["run_id"], ask_id=ask["id"], value=2)
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
        [*_, said] = await caller.blocks(begun["thread_id"])
        assert text_of(said) == "told 2"


async def test_the_caller_runs_a_tool_of_its_own(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("pick", kind="file"))
        [ask] = await asks_of(caller, begun)
        assert ask["ask"]["type"] == "client_tool"
        await caller.answer(begun["run_id"], ask_id=ask["id"], value={"path": "a.txt"})
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
        [*_, said] = await caller.blocks(begun["thread_id"])
        assert text_of(said) == 'told {"path": "a.txt"}'


async def test_an_ask_that_nobody_answers_in_time_counts_as_denied_where_its_tool_says_so(small: SmallCluster) -> None:
    async with calling(small) as caller:
        denied = await caller.begin(called("denied"), agent="hurried")
        final = check(await caller.events(denied), denied["run_id"])
        assert text_of([*final.values()][-1]) == "told Error: expired"
        strict = await caller.begin(called("strict"), agent="hurried")
        [*_, ended] = await caller.events(strict)
        assert (ended.data["run"]["state"], ended.data["run"]["reason"]) == ("failed", "ask_expired")


async def test_a_call_fails_alone_where_what_says_whether_it_needs_an_approval_raises(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("doubtful"), agent="hurried")
        final = check(await caller.events(begun), begun["run_id"])
        assert text_of([*final.values()][-1]) == "told Error: ZeroDivisionError: division by zero"


async def test_an_ask_takes_no_actor_until_it_expires_even_if_that_is_while_nothing_runs(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("patient"), agent="hurried")
        [ask] = await asks_of(caller, begun)
        await rests(small, begun["thread_id"])
        assert time.time() < ask["ask"]["expires_at"]
        a_minute_later = functools.partial(lambda clock: clock() + 60, time.time)
        monkeypatch.setattr(time, "time", a_minute_later)
        small.restart_directory()
        await small.inferlets.inferlets()
        async with asyncio.timeout(30):
            while not await has_ended(small, begun["thread_id"]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        final = check(await caller.events(begun), begun["run_id"])
        assert text_of([*final.values()][-1]) == "told Error: expired"


async def test_a_run_that_fails_while_it_asks_for_more_waits_no_longer(small: SmallCluster) -> None:
    async with calling(small) as caller:
        lines = (called("strict"), called("pay", amount=20), called("pay", amount=30))
        begun = await caller.begin("\n".join(lines), agent="hurried")
        states = [event.data["run"]["state"] for event in await caller.events(begun) if "run" in event.data]
        assert states == ["running", "waiting", "running", "failed"]


async def test_a_waiting_run_is_cancelled_and_its_tool_never_begins(small: SmallCluster) -> None:
    async with calling(small) as caller:
        begun = await caller.begin(called("pay", amount=20))
        [ask] = await asks_of(caller, begun)
        await rests(small, begun["thread_id"])
        await caller.ask("POST", f"/api/runs/{begun['run_id']}/cancel", {}, 202)
        run = await caller.wait(begun["run_id"])
        assert (run["state"], run["reason"]) == ("cancelled", "user")
        final = check(await caller.events(begun), begun["run_id"])
        assert final[ask["id"]]["state"] == "cancelled"
        assert RECORDED == []


async def has_ended(small: SmallCluster, thread_id: str) -> bool:
    """Whether its last run has, as its journal says; that activates nothing."""
    records = [decode(line) for line in await small.inferlets.recorded(thread_id)]
    logged: list[Any] = [record.value for record in records if isinstance(record, Logged)]
    return Run.of([entry["run"] for entry in logged if entry["log"] == "run"][-1]).is_over


async def rests(small: SmallCluster, thread_id: str) -> None:
    """Until its actor has given it back, as it does after a minute without readers."""
    async with asyncio.timeout(30):
        while holders := [slot.target for slot in small.slots.values() if _holds(slot, thread_id)]:
            await holders[0].leave()
            await asyncio.sleep(0.01)


def _holds(slot: Loopback, thread_id: str) -> bool:
    tenant = slot.target.tenant
    return isinstance(tenant, Instance) and tenant.id == thread_id and not slot._died.is_set()


def _text(text: str) -> Json:
    return {"type": "text", "mime_type": "text/plain", "name": None, "text": text}
