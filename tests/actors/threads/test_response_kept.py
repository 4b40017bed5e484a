"""What a thread keeps of an agent's responses: nothing twice, and nothing that others can make up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.journal.keys import INFERLET, journal_key
from api.threads.commands import OF_RESPONSE
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Json, calling
from tests.actors.threads.scripted import obedient
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import LOOK, respond
from tests.actors.threads.test_response_items import items_of, result_of, without_ids
from tests.actors.threads.test_response_order import run_of, thread_of


async def num_kept(small: SmallCluster, response: Json) -> int:
    """Bytes of the journal of its thread."""
    return sum(map(len, await small.journal.records(journal_key(INFERLET, thread_of(response)))))


async def test_what_is_kept_with_a_result_does_not_grow_with_the_request(small: SmallCluster) -> None:
    small.engines[0].script = lambda messages: obedient([("user", called("look", at="sky"))])  # type: ignore[attr-defined]
    long, result = "d" * 50_000, "r" * 500
    same: Any = {"tools": [{**LOOK, "description": long}], "instructions": long, "model": "agent/unlimited"}
    async with calling(small) as caller:
        sent: list[Json] = [{"role": "user", "content": "h" * 1_000}]
        made = await respond(caller, sent, **same)
        for number in range(3):
            before = await num_kept(small, made)
            [call] = made["output"]
            results = [result_of(call, f"{number}{result}")]
            made = await respond(caller, results, previous_response_id=made["id"], metadata={"of": str(number)}, **same)
            assert await num_kept(small, made) - before < len(long)
            assert await caller.ask("GET", f"/v1/responses/{made['id']}") == made
            assert without_ids(await items_of(caller, made["id"])) == [{**results[0], "status": "completed"}]
            assert (made["metadata"], made["instructions"]) == ({"of": str(number)}, long)
            sent += [{name: call[name] for name in ("type", "call_id", "name", "arguments")}, *results]
        [call] = made["output"]
        sent += [{name: call[name] for name in ("type", "call_id", "name", "arguments")}, result_of(call, result)]
        before = await num_kept(small, made)
        made = await respond(caller, sent, **same)
        assert await num_kept(small, made) - before < len(long)
        shown = without_ids(await items_of(caller, made["id"]))
        assert [item.get("output") for item in shown] == [item.get("output") for item in sent]
        assert shown[0]["content"][0]["text"] == sent[0]["content"]


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀", '"'])
async def test_as_much_as_an_input_may_have_is_taken_in_any_script_and_kept_once(
    small: SmallCluster, letter: str
) -> None:
    long = letter * 99_900
    parts = [{"type": "input_text", "text": text} for text in ("", long[:50_000], "\n", long[50_000:])]
    sent: list[Json] = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "content": ""},
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": long},
    ]
    async with calling(small) as caller:
        made = await respond(caller, sent, background=True)
        await caller.wait(run_of(made))
        shown = without_ids(await items_of(caller, made["id"]))
        assert [item["role"] for item in shown] == [item["role"] for item in sent]
        assert shown[0]["content"] == parts
        assert shown[1]["content"] == sent[1]["content"]
        assert [item["content"][0]["text"] for item in shown[2:]] == ["", "Be short.", long]
        run = (await caller.ask("GET", f"/api/runs/{run_of(made)}"))["run"]
        assert len(json.dumps(run["metadata"])) < 10_000
        await rests(small, thread_of(made))
        small.kill_inferlet(thread_of(made))
        assert without_ids(await items_of(caller, made["id"])) == shown


async def test_a_result_may_be_as_long_as_an_input_in_any_script(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        result = result_of(made["output"][0], "漢" * 199_000)
        told = await respond(caller, [result], previous_response_id=made["id"], background=True)
        assert without_ids(await items_of(caller, told["id"])) == [{**result, "status": "completed"}]


@pytest.mark.parametrize("own", ["x", 5, [1], {"store": True}, {"fields": {"store": True}, "items": [5]}])
async def test_no_metadata_of_a_prompt_stand_for_a_response(small: SmallCluster, own: Any) -> None:
    async with calling(small) as caller:
        made = await caller.prompt("say one", metadata={"response": own})
        thread_id, _, number = made["run"]["id"].partition(".")
        response_id = f"resp_{thread_id}{number}"
        await caller.ask("GET", f"/v1/responses/{response_id}", None, 404)
        await respond(caller, "say two", 404, previous_response_id=response_id)
        body = {"prompt": "say one", "metadata": {OF_RESPONSE: own}}
        assert OF_RESPONSE in str(await caller.ask("POST", "/api/agents/helper/prompt", body, 400))
