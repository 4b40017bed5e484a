"""What is left of an agent's response that is deleted, and of its thread."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_chat_agents import client_of
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_items import result_of, two_owners
from tests.actors.threads.test_response_order import HOLD, later, run_of, thread_of, until_held


async def delete(caller: Caller, response: Json) -> None:
    deleted = await caller.ask("DELETE", f"/v1/responses/{response['id']}")
    assert deleted == {"id": response["id"], "object": "response.deleted", "deleted": True}


async def check_gone(caller: Caller, response: Json) -> None:
    """It is found on no route."""
    path = f"/v1/responses/{response['id']}"
    for method, of_it in (
        ("GET", path),
        ("GET", f"{path}?stream=true"),
        ("GET", f"{path}/input_items"),
        ("POST", f"{path}/cancel"),
        ("DELETE", path),
    ):
        assert (await caller.ask(method, of_it, None, 404))["error"]["code"] == "response_not_found"
    after = await respond(caller, "say on", 404, previous_response_id=response["id"])
    assert after["error"]["code"] == "previous_response_not_found"


async def is_kept(caller: Caller, response: Json) -> bool:
    """Its thread is there."""
    answer = await caller.http.get(f"/api/threads/{thread_of(response)}")
    assert answer.status_code in (200, 404, 410)
    return answer.status_code == 200


async def test_a_deleted_response_is_gone_and_its_thread_where_that_has_nothing_else(small: SmallCluster) -> None:
    async with calling(small) as caller:
        picking = await respond(caller, called("pick"))
        for made in (await respond(caller, "say only"), picking):
            await delete(caller, made)
            await check_gone(caller, made)
            assert not await is_kept(caller, made)
        await respond(caller, [result_of(picking["output"][0])], 400)
        held = await later(caller, HOLD)
        await until_held()
        await delete(caller, held)
        assert not await is_kept(caller, held)
        HELD["a"].set()
        await check_gone(caller, held)


async def test_what_goes_on_from_a_deleted_response_stays_whole(small: SmallCluster) -> None:
    async with calling(small) as caller:
        first = await respond(caller, "say one")
        second = await respond(caller, "say two", previous_response_id=first["id"])
        branch = await respond(caller, "say three", previous_response_id=first["id"])
        await delete(caller, first)
        await rests(small, thread_of(first))
        small.kill_inferlet(thread_of(first))
        await check_gone(caller, first)
        assert await caller.ask("GET", f"/v1/responses/{second['id']}") == second
        assert await caller.ask("GET", f"/v1/responses/{branch['id']}") == branch
        listed = await respond(caller, "list", previous_response_id=second["id"])
        assert thread_of(listed) == thread_of(first)
        assert "assistant: one | user: say two | assistant: two | user: list" in said_in(listed)
        await delete(caller, listed)
        again = await respond(caller, "list", previous_response_id=second["id"])
        assert said_in(again) == said_in(listed), "it goes on after the second, in a fork"
        await delete(caller, branch)
        assert await is_kept(caller, branch), "it has what the first one said"


async def test_a_named_thread_stays_without_its_only_response(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, "say kept", conversation="mine")
        await delete(caller, made)
        await check_gone(caller, made)
        assert "assistant: kept" in said_in(await respond(caller, "list", conversation="mine"))


async def test_deleting_a_response_ends_what_is_worked_on_and_nothing_else(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, "say one")
        held = await later(caller, HOLD, made)
        await until_held()
        await delete(caller, held)
        HELD["a"].set()
        assert (await caller.wait(run_of(held)))["state"] == "cancelled"
        await check_gone(caller, held)
        assert await caller.ask("GET", f"/v1/responses/{made['id']}") == made


async def test_a_response_and_what_goes_on_after_its_call_are_deleted_one_by_one(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        results = [result_of(made["output"][0])]
        told = await respond(caller, results, previous_response_id=made["id"])
        await delete(caller, made)
        await check_gone(caller, made)
        assert await caller.ask("GET", f"/v1/responses/{told['id']}") == told
        on = await respond(caller, "say on", previous_response_id=told["id"])
        await delete(caller, told)
        await check_gone(caller, told)
        assert await caller.ask("GET", f"/v1/responses/{on['id']}") == on


async def test_a_response_of_another_owner_is_not_deleted(tmp_path: Path) -> None:
    async with two_owners(tmp_path) as (small, ada, bob):
        made = await respond(ada, "say mine")
        await bob.ask("DELETE", f"/v1/responses/{made['id']}", None, 404)
        assert await ada.ask("GET", f"/v1/responses/{made['id']}") == made
        passing = await respond(ada, "say passing", store=False)
        await ada.ask("DELETE", f"/v1/responses/{passing['id']}", None, 404)
        after = await respond(ada, "say on", previous_response_id=made["id"])
        await delete(ada, made)
        await small.restart_journal()
        await check_gone(ada, made)
        assert await ada.ask("GET", f"/v1/responses/{after['id']}") == after


async def test_openais_own_client_lists_resumes_and_deletes(small: SmallCluster) -> None:
    async with client_of(small) as client:
        made = await client.responses.create(model="agent/helper", input="say hello")
        [item] = [item async for item in client.responses.input_items.list(made.id)]
        assert item.type == "message"
        events = [event async for event in await client.responses.retrieve(made.id, stream=True, starting_after=5)]
        assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "llo"
        await client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
