"""Input items of the responses of agents; those of any other response are the oracle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from api.settings import ApiKey, ApiSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import respond, said_in
from tests.actors.threads.test_response_order import run_of, thread_of
from tests.api.http.openai.responses.oracle import check_item

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
    keys = tuple(ApiKey.of(f"key-of-{owner}-{'x' * 20}", owner) for owner in ("ada", "bob"))
    settings = ApiSettings(api_keys=keys)
    ada_key, bob_key = (f"key-of-{owner}-{'x' * 20}" for owner in ("ada", "bob"))
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
