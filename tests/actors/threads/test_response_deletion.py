"""What is left of an agent's response that is deleted, and of its thread."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from actors.inferlets.thread_ref import ThreadRef
from api.errors import Unavailable
from api.http.openai.agents import responses
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_chat_agents import client_of
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_items import result_of, two_owners
from tests.actors.threads.test_response_order import HOLD, later, run_of, thread_of, until_held, until_over


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


@pytest.mark.parametrize("is_begun", [True, False])
async def test_a_response_that_was_cancelled_in_its_place_outlives_the_one_before_it(
    small: SmallCluster, is_begun: bool
) -> None:
    async with calling(small) as caller:
        first = await later(caller, HOLD)
        second = await later(caller, "say two", first)
        cancelled = await caller.ask("POST", f"/v1/responses/{second['id']}/cancel")
        assert cancelled["status"] == "cancelled"
        if is_begun:
            HELD["a"].set()
            await until_over(caller, first)
        await delete(caller, first)
        HELD["a"].set()
        await check_gone(caller, first)
        await rests(small, thread_of(first))
        small.kill_inferlet(thread_of(first))
        assert await caller.ask("GET", f"/v1/responses/{second['id']}") == cancelled
        await delete(caller, second)
        await check_gone(caller, second)


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


async def ids_that_are_found(caller: Caller, thread_id: str) -> set[str]:
    """Of all that name runs and asks of a thread."""
    runs = sorted({block["run_id"].rpartition(".")[2] for block in await caller.blocks(thread_id)})
    asks = ["0", *(ask["id"].rpartition(".b")[2] for ask in await caller.blocks(thread_id, "kinds=ask"))]
    asked = [f"{run}a{number}" for run in runs for number in asks]
    tried = [f"resp_{thread_id}{one}" for one in (*runs, *asked, *(f"{one}{run}" for one in asked for run in runs))]
    found = set[str]()
    for response_id in tried:
        status = (await caller.http.get(f"/v1/responses/{response_id}", timeout=10)).status_code
        assert status in (200, 404), response_id
        found |= {response_id} if status == 200 else set()
    return found


async def test_a_response_is_found_by_its_id_alone(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}")
        results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
        told = await respond(caller, results, previous_response_id=made["id"])
        more = [*results, {"role": "user", "content": "say more"}]
        last = await respond(caller, more, previous_response_id=made["id"])
        plain = await respond(caller, "say plain", previous_response_id=last["id"])
        left = {response["id"] for response in (made, told, last, plain)}
        assert await ids_that_are_found(caller, thread_of(made)) == left
        for response in (last, told, plain, made):
            await delete(caller, response)
            left.remove(response["id"])
            assert await ids_that_are_found(caller, thread_of(made)) == left


async def test_what_was_told_of_answers_goes_with_the_response_that_told_it_too(small: SmallCluster) -> None:
    async with calling(small) as caller:
        for is_told in (True, False):
            made = await respond(caller, f"{called('pick')}\n{called('pick')}")
            results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
            more = [*results, {"role": "user", "content": "say more"}]
            last = await respond(caller, more, previous_response_id=made["id"])
            told = [await respond(caller, results)] if is_told else []
            assert len(await ids_that_are_found(caller, thread_of(made))) == 3
            await delete(caller, last)
            for response in told:
                await check_gone(caller, response)
            assert await ids_that_are_found(caller, thread_of(made)) == {made["id"]}


async def test_nothing_is_kept_of_a_response_that_is_deleted_with_its_thread(small: SmallCluster) -> None:
    async with calling(small) as caller:
        await delete(caller, await respond(caller, "say only"))
        assert await small.journal.list_items("hidden-in-threads/") == ()
        first = await respond(caller, "say one")
        await respond(caller, "say two", previous_response_id=first["id"])
        await delete(caller, first)
        assert len(await small.journal.list_items("hidden-in-threads/")) == 1


async def test_what_follows_a_response_while_that_is_deleted_is_kept_or_refused(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_all = responses._is_all
    async with calling(small) as caller:

        async def follow(first: Json, asked: asyncio.Event, answered: asyncio.Event) -> int:
            await asked.wait()
            body = {"model": "agent/helper", "input": "say two", "previous_response_id": first["id"]}
            answer = await caller.http.post("/v1/responses", json=body)
            answered.set()
            assert answer.status_code in (200, 404), answer.text
            if answer.status_code == 200:
                assert await caller.ask("GET", f"/v1/responses/{answer.json()['id']}") == answer.json()
            else:
                assert answer.json()["error"]["code"] == "previous_response_not_found"
            return answer.status_code

        for is_before in (True, False):
            asked, answered = asyncio.Event(), asyncio.Event()

            async def slow(
                *of: Any, begin: asyncio.Event = asked, end: asyncio.Event = answered, is_before: bool = is_before
            ) -> bool:
                found = None if is_before else await is_all(*of)
                begin.set()
                await end.wait()
                return await is_all(*of) if found is None else found

            first = await respond(caller, "say one")
            monkeypatch.setattr(responses, "_is_all", slow)
            following = asyncio.create_task(follow(first, asked, answered))
            await delete(caller, first)
            assert await following == 404, "it is hidden by then"
            await check_gone(caller, first)
        monkeypatch.setattr(responses, "_is_all", is_all)
        for turns in range(12):  # of the event loop, between one and the other
            first, asked = await respond(caller, "say one"), asyncio.Event()
            asked.set()
            following = asyncio.create_task(follow(first, asked, asyncio.Event()))
            for _ in range(20 * turns):
                await asyncio.sleep(0)
            await delete(caller, first)
            await following


async def test_a_deletion_that_was_cut_short_is_made_again(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with calling(small) as caller:
        for name in ("cancel", "delete"):
            held = await later(caller, HOLD)
            await until_held()
            path = f"/v1/responses/{held['id']}"
            with monkeypatch.context() as patched:
                patched.setattr(ThreadRef, name, gone)
                await caller.ask("DELETE", path, None, 503)
            again = await caller.http.delete(path)
            assert again.status_code == (200 if name == "cancel" else 404), "it was hidden by then"
            assert not await is_kept(caller, held)
            await check_gone(caller, held)
            HELD["a"].set()
            RECORDED.clear()
            HELD.clear()


async def gone(*of: object) -> None:
    raise Unavailable("the thread cannot be reached")


async def test_results_that_are_given_again_tell_of_no_response_that_is_not_there(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        results = [result_of(made["output"][0])]
        told = await respond(caller, results, previous_response_id=made["id"])
        await delete(caller, told)
        again = await respond(caller, results, 404, previous_response_id=made["id"])
        assert again["error"]["code"] == "response_not_found"
        made = await respond(caller, called("pick"))
        results = [result_of(made["output"][0])]
        assert (await respond(caller, results, store=False))["store"] is False
        assert (await respond(caller, results))["store"] is False


async def test_a_conversation_that_waits_for_a_result_is_refused_another_message(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"), conversation="mine")
        refused = await respond(caller, "say next", 400, conversation="mine")
        assert made["output"][0]["call_id"] in refused["error"]["message"]
        await respond(caller, [result_of(made["output"][0])])
        assert said_in(await respond(caller, "say next", conversation="mine")) == "next"
