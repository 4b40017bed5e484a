"""What can be asked of an agent's response by its id, as of any other; the others are the oracle where they can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_order import HOLD, later, run_of, thread_of, until_held
from tests.api.http.openai.responses.oracle import check_item, events_of

SAID: list[Any] = [
    "say hello",
    [{"role": "developer", "content": "Be short."}, {"role": "user", "content": [{"type": "input_text", "text": "a"}]}],
    [
        {"role": "user", "content": "one"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": "two"},
        {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "é😀"},
        {"role": "assistant", "content": "three"},
        {"type": "message", "id": "msg_mine", "role": "user", "content": "list"},
    ],
]


async def items_of(caller: Caller, response_id: str, query: str = "order=asc&limit=100", status: int = 200) -> Json:
    page: Json = await caller.ask("GET", f"/v1/responses/{response_id}/input_items?{query}", None, status)
    for item in page.get("data", ()):
        check_item(item)
    return page


def without_ids(page: Json) -> list[Json]:
    return [{name: value for name, value in item.items() if name != "id"} for item in page["data"]]


def result_of(call: Json, output: str = "a.txt") -> Json:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


@asynccontextmanager
async def two_owners(tmp_path: Path) -> AsyncIterator[tuple[SmallCluster, Caller, Caller]]:
    keys = tuple(ApiKey(key=f"key-of-{owner}-{'x' * 20}", owner=owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (key.key.get_secret_value() for key in keys)
    async with scripted_cluster(tmp_path) as small:
        async with calling(small, settings, ada_key) as ada, calling(small, settings, bob_key) as bob:
            yield small, ada, bob


@pytest.mark.parametrize("said", SAID)
async def test_input_items_are_those_that_were_sent_as_of_any_response(small: SmallCluster, said: Any) -> None:
    async with calling(small) as caller:
        made = await respond(caller, said)
        other = await caller.ask("POST", "/v1/responses", {"input": said})
        found = await items_of(caller, made["id"])
        assert without_ids(found) == without_ids(await items_of(caller, other["id"]))
        ids = [item["id"] for item in found["data"]]
        assert len(set(ids)) == len(ids) == (1 if isinstance(said, str) else len(said))
        await rests(small, thread_of(made))
        small.kill_inferlet(thread_of(made))
        assert await items_of(caller, made["id"]) == found


async def test_input_items_come_in_pages_as_they_are_asked_for(small: SmallCluster) -> None:
    async with calling(small) as caller:
        said = [{"role": "user", "content": str(number)} for number in range(25)]
        made = await respond(caller, said)
        newest = await items_of(caller, made["id"], "")
        texts = [item["content"][0]["text"] for item in newest["data"]]
        assert (texts, newest["has_more"]) == ([str(number) for number in range(24, 4, -1)], True)
        rest = await items_of(caller, made["id"], f"after={newest['last_id']}&limit=10")
        assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (list("43210"), False)
        first = await items_of(caller, made["id"], "order=asc&limit=1")
        assert first["data"] == rest["data"][-1:]
        for wrong in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_nobody"):
            refused = await items_of(caller, made["id"], wrong, 400)
            assert refused["error"]["param"] == wrong.partition("=")[0]


async def test_input_items_of_what_goes_on_after_a_call_are_its_results(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}", metadata={"of": "first"})
        results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
        assert (await items_of(caller, f"{made['id']}a9", status=404))["error"]["code"] == "response_not_found"
        last_ask = (await caller.blocks(thread_of(made), "kinds=ask"))[-1]["id"].rpartition(".b")[2]
        await items_of(caller, f"{made['id']}a{last_ask}", status=404)
        after = {"previous_response_id": made["id"], "metadata": {"of": "second"}}
        told = await respond(caller, results, **after)
        assert (told["previous_response_id"], told["metadata"]) == (made["id"], {"of": "second"})
        assert await caller.ask("GET", f"/v1/responses/{told['id']}") == told
        assert await respond(caller, results, **after) == told, "it is the same when it is sent again"
        given = [{**result, "status": "completed"} for result in results]
        found = await items_of(caller, told["id"])
        assert without_ids(found) == given
        sent = [*results, {"role": "user", "content": "say on"}]
        more = await respond(caller, sent, **after)
        assert without_ids(await items_of(caller, more["id"]))[:2] == given
        assert (await items_of(caller, more["id"]))["data"][2]["content"][0]["text"] == "say on"
        await rests(small, thread_of(made))
        small.kill_inferlet(thread_of(made))
        assert await items_of(caller, told["id"]) == found


async def test_a_result_that_was_given_over_another_way_is_an_item_too(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        [ask] = await caller.blocks(thread_of(made), "kinds=ask")
        await caller.answer(run_of(made), ask_id=ask["id"], value="a.txt")
        await caller.wait(run_of(made))
        told = await respond(caller, [result_of(made["output"][0])], previous_response_id=made["id"])
        assert said_in(told) == "told a.txt"
        assert await caller.ask("GET", f"/v1/responses/{told['id']}") == told
        found = await items_of(caller, told["id"])
        assert without_ids(found) == [{**result_of(made["output"][0]), "status": "completed"}]


async def test_input_items_of_another_owner_and_of_what_is_not_stored_are_not_there(tmp_path: Path) -> None:
    async with two_owners(tmp_path) as (_, ada, bob):
        made = await respond(ada, "say mine")
        assert len((await items_of(ada, made["id"]))["data"]) == 1
        missing = await items_of(bob, made["id"], status=404)
        assert missing["error"]["code"] == "response_not_found"
        passing = await respond(ada, "say passing", store=False)
        await items_of(ada, passing["id"], status=404)
        picking = await respond(ada, called("pick"))
        told = await respond(ada, [result_of(picking["output"][0])], store=False)
        await items_of(ada, told["id"], status=404)
        await respond(ada, "say on", 404, previous_response_id=told["id"])


def by_character(events: list[Json]) -> list[Json]:
    """The events, a delta as one of each of its characters: readings might cut a text into other deltas."""
    found = list[Json]()
    for event in events:
        delta, number = event.get("delta", ""), event["sequence_number"]
        found += [
            {**event, "delta": character, "sequence_number": number - len(delta) + place}
            for place, character in enumerate(delta, 1)
        ] or [event]
    return found


async def read(caller: Caller, response_id: str, after: int | None = None) -> list[Json]:
    """The events of a whole stream after this number."""
    query = "" if after is None else f"&starting_after={after}"
    answer = await caller.http.get(f"/v1/responses/{response_id}?stream=true{query}")
    assert answer.status_code == 200, answer.text
    return read_in(answer.text)


def read_in(text: str) -> list[Json]:
    assert text.endswith("data: [DONE]\n\n")
    lines = [line for line in text.removesuffix("data: [DONE]\n\n").splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def streamed(caller: Caller, said: Any, **fields: Any) -> list[Json]:
    """The events of the first stream."""
    body = {"model": "agent/helper", "input": said, "stream": True, **fields}
    return events_of(await caller.http.post("/v1/responses", json=body))


async def check_resumed(caller: Caller, first: list[Json]) -> None:
    """Wherever the first stream is cut, be it within a text, the rest is the same."""
    response_id, expected = first[0]["response"]["id"], by_character(first)
    assert by_character(await read(caller, response_id)) == expected
    numbers = [event["sequence_number"] for event in expected]
    assert numbers == list(range(len(numbers)))
    within = {number for number in numbers if "delta" in expected[number] and number % 8}
    for number in (-1, *sorted(set(numbers) - within), numbers[-1] + 1):
        assert by_character(await read(caller, response_id, number)) == expected[number + 1 :]


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("say hé😀llo", {}),
        (f"{called('add', a=1, b=2)}\n{called('letters', text='é😀')}\n{called('fail', why='rain')}", {}),
        ("say " + "a" * 30, {"max_output_tokens": 8}),
        (f"{called('add', a=1, b=2)}\n{called('add', a=3, b=4)}", {"max_tool_calls": 1}),
        (called("pay", amount=20), {}),
        (f"{called('pick')}\n{called('add', a=1, b=2)}", {"metadata": {"of": "mine"}}),
        ("say later", {"background": True}),
    ],
)
async def test_a_stream_that_is_cut_anywhere_goes_on_as_it_was(small: SmallCluster, said: str, fields: Json) -> None:
    async with calling(small) as caller:
        first = await streamed(caller, said, **fields)
        await check_resumed(caller, first)
        thread_id = thread_of(first[0]["response"])
        await rests(small, thread_id)
        small.kill_inferlet(thread_id)
        assert by_character(await read(caller, first[0]["response"]["id"])) == by_character(first)


async def test_what_goes_on_after_a_call_is_resumed_too(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, f"{called('pick')}\n{called('pick')}")
        results = [result_of(call, text) for call, text in zip(made["output"], "ab", strict=True)]
        after: Json = {"previous_response_id": made["id"]}
        told = await streamed(caller, results, **after, metadata={"of": "told"})
        assert told[-1]["response"]["metadata"] == {"of": "told"}
        await check_resumed(caller, told)
        more = await streamed(caller, [*results, {"role": "user", "content": "say on"}], **after)
        assert said_in(more[-1]["response"]).endswith("on")
        await check_resumed(caller, more)
        assert (await read(caller, made["id"]))[-1]["response"] == made, "it ends where it ended"


async def test_a_response_that_is_worked_on_is_resumed_live_and_over_the_death_of_its_actor(
    small: SmallCluster,
) -> None:
    async with calling(small) as caller:
        asked = f"{called('add', a=1, b=2)}\n{called('hold_safely', name='a')}"
        body = {"model": "agent/helper", "input": asked, "stream": True, "background": True}
        first = ""
        async with caller.http.stream("POST", "/v1/responses", json=body) as answer:
            async for text in answer.aiter_text():
                first += text
                if '"output":"3"' in first.replace('": "', '":"'):
                    break  # its client has left
        told = [json.loads(line.removeprefix("data: ")) for line in first.splitlines() if line.startswith("data: ")]
        response = told[0]["response"]
        await until_held()
        numbers = [event["sequence_number"] for event in told]
        reading = [
            asyncio.create_task(read(caller, response["id"], number)) for number in (-1, numbers[3], numbers[-1])
        ]
        await asyncio.wait(reading, timeout=0.2)
        assert not any(task.done() for task in reading)
        small.kill_inferlet(thread_of(response))
        HELD["a"].set()
        whole, *others = [by_character(await task) for task in reading]
        assert whole[: numbers[-1] + 1] == by_character(told)
        assert said_in(whole[-1]["response"]) == "told 3, a"
        for number, rest in zip((numbers[3], numbers[-1]), others, strict=True):
            assert rest == whole[number + 1 :]
        await rests(small, thread_of(response))
        await check_resumed(caller, await read(caller, response["id"]))
        assert by_character(await read(caller, response["id"])) == whole


async def test_readers_that_join_at_every_event_read_the_same(small: SmallCluster) -> None:
    small.engines[0].step_s = 0.01
    async with calling(small) as caller:
        body = {"model": "agent/helper", "input": "say é😀" + "a" * 20, "stream": True}
        told, reading = list[Json](), list[asyncio.Task[list[Json]]]()
        async with caller.http.stream("POST", "/v1/responses", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    told.append(json.loads(line.removeprefix("data: ")))
                    response_id, number = told[0]["response"]["id"], told[-1]["sequence_number"]
                    reading.append(asyncio.create_task(read(caller, response_id, number)))
        assert sum("delta" in event for event in told) > 2, "it was read while it came"
        for event, task in zip(told, reading, strict=True):
            assert by_character(await task) == by_character(told)[event["sequence_number"] + 1 :]


async def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    async with two_owners(tmp_path) as (_, ada, bob):
        made = await respond(ada, "say mine")
        path = f"/v1/responses/{made['id']}?stream=true"
        assert (await ada.ask("GET", f"{path}&starting_after=x", None, 400))["error"]["param"] == "starting_after"
        assert (await bob.ask("GET", path, None, 404))["error"]["code"] == "response_not_found"
        passing = await respond(ada, "say passing", store=False)
        await ada.ask("GET", f"/v1/responses/{passing['id']}?stream=true", None, 404)


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
