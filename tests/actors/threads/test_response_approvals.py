"""Responses of agents whose runs wait for a person."""

from __future__ import annotations

import pytest

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import kinds_of, respond, said_in
from tests.actors.threads.test_response_deletion import delete
from tests.actors.threads.test_response_items import result_of
from tests.actors.threads.test_response_order import later, run_of, thread_of
from tests.actors.threads.test_response_streams import read

PAY = called("pay", amount=20)


async def waiting(caller: Caller, said: str, before: Json | None = None) -> Json:
    """A response in the background whose run waits."""
    made = await later(caller, said, before)
    assert (await caller.wait(run_of(made)))["state"] == "waiting"
    return made


async def approve(caller: Caller, response: Json) -> None:
    asks = await caller.blocks(thread_of(response), "kinds=ask")
    [ask_id] = [ask["id"] for ask in asks if ask["state"] == "open" and ask["ask"]["type"] == "approval"]
    await caller.answer(run_of(response), ask_id=ask_id, approve=True)


async def shown(caller: Caller, response: Json) -> Json:
    found: Json = await caller.ask("GET", f"/v1/responses/{response['id']}", timeout=10)
    return found


async def cancel(caller: Caller, response: Json) -> Json:
    told: Json = await caller.ask("POST", f"/v1/responses/{response['id']}/cancel", timeout=10)
    return told


@pytest.mark.parametrize("said", [PAY, f"{called('pick')}\n{PAY}"])
async def test_a_response_that_waits_for_a_person_is_cancelled(small: SmallCluster, said: str) -> None:
    async with calling(small) as caller:
        made = await waiting(caller, said)
        told = await shown(caller, made)
        assert (told["status"], told["error"]["code"]) == ("failed", "conflict")
        for _ in range(2):
            assert (await cancel(caller, made))["status"] == "cancelled"
        assert (await shown(caller, made))["status"] == "cancelled"
        assert (await caller.wait(run_of(made)))["state"] == "cancelled"
        assert RECORDED == []


async def test_a_deleted_response_that_waits_for_a_person_is_cancelled(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await waiting(caller, PAY, await respond(caller, "say one"))
        await delete(caller, made)
        assert (await caller.wait(run_of(made)))["state"] == "cancelled"


async def test_a_response_whose_run_went_on_after_an_approval_tells_how_it_ended(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await waiting(caller, f"{called('add', a=1, b=2)}\n{PAY}")
        failed = await read(caller, made["id"])
        assert failed[-1]["type"] == "response.failed"
        await approve(caller, made)
        assert (await caller.wait(run_of(made)))["state"] == "succeeded"
        told = await shown(caller, made)
        assert (told["status"], told["error"], said_in(told)) == ("completed", None, "told 3, paid 20")
        whole = await read(caller, made["id"])
        assert whole[-1]["response"] == told
        rest = await read(caller, made["id"], failed[-1]["sequence_number"])
        assert [*failed[:-2], *rest] == whole, "who read that it failed reads all that came since"
        assert (await cancel(caller, made)) == told


async def test_a_response_ends_with_the_callers_call_also_where_a_person_was_waited_for(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await waiting(caller, f"{called('pick')}\n{PAY}")
        [call] = [item for item in (await shown(caller, made))["output"] if item.get("name") == "pick"]
        after: Json = {"previous_response_id": made["id"], "background": True}
        more = await respond(caller, [result_of(call)], **after)
        await caller.wait(run_of(made))
        ended = await shown(caller, made)
        assert (ended["status"], kinds_of(ended)) == ("completed", ["function_call"] * 2)
        assert (await cancel(caller, made)) == ended
        assert (await shown(caller, more))["status"] == "failed"
        await approve(caller, made)
        assert (await caller.wait(run_of(made)))["state"] == "succeeded"
        assert await shown(caller, made) == ended
        told = await shown(caller, more)
        assert (told["status"], said_in(told)) == ("completed", "told a.txt, paid 20")
        again = await respond(caller, [result_of(call)], previous_response_id=made["id"])
        assert again["output"] == told["output"]


async def test_what_comes_after_an_approval_is_a_call_of_the_callers(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await waiting(caller, f"{called('pick')}\n{PAY}")
        await approve(caller, made)
        assert (await caller.wait(run_of(made)))["state"] == "waiting"
        told = await shown(caller, made)
        assert (told["status"], kinds_of(told)) == ("completed", ["function_call"] * 2 + ["function_call_output"])
        assert (await cancel(caller, made)) == told
        assert (await caller.wait(run_of(made)))["state"] == "waiting"
