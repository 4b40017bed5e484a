"""Items of agents' responses that a client only names; what the same items say where they are sent is the oracle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message as ASGIMessage

from actors.inferlets.thread_ref import ThreadRef
from api.errors import Unavailable
from api.http.app import build_app
from api.settings import ApiSettings
from api.threads.contract import ThreadEvent
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, Json, calling
from tests.actors.threads.test_asks import rests
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_response_agents import kinds_of, respond, said_in
from tests.actors.threads.test_response_deletion import delete
from tests.actors.threads.test_response_items import items_of, result_of, two_owners, without_ids
from tests.actors.threads.test_response_order import HOLD, later, thread_of, until_held

LIST: Json = {"role": "user", "content": "list"}


def named(*items: Json) -> list[Json]:
    return [{"type": "item_reference", "id": item["id"]} for item in items]


async def all_items(caller: Caller, response: Json) -> list[Json]:
    """Those of its input, then those of its output."""
    return [*(await items_of(caller, response["id"]))["data"], *response["output"]]


async def listed(caller: Caller, items: list[Json]) -> str:
    """What the agent's model reads of these, after what the agent says itself."""
    return said_in(await respond(caller, items)).removeprefix("system: Help. | ")


async def plain(caller: Caller, said: Any, **fields: Any) -> Json:
    """A response of the model without an agent."""
    made: Json = await caller.ask("POST", "/v1/responses", {"input": said, **fields})
    return made


@pytest.mark.parametrize("said", ["say hello", called("add", a=1, b=2)])
async def test_items_that_are_named_say_what_they_say_where_they_are_sent(small: SmallCluster, said: str) -> None:
    async with calling(small) as caller:
        items = await all_items(caller, await respond(caller, said))
        sent = await respond(caller, [*items, LIST])
        names = await respond(caller, [*named(*items), LIST])
        assert said_in(names) == said_in(sent)
        assert said in said_in(names)
        found = await items_of(caller, names["id"])
        assert without_ids(found) == without_ids(await items_of(caller, sent["id"]))
        assert [item["id"] for item in found["data"][:-1]] == [item["id"] for item in items]
        again = await respond(caller, [*named(*found["data"])])
        assert said_in(again) == said_in(names), "an item that was named is found under its first id"


async def test_items_are_named_from_agents_to_sessions_and_back(small: SmallCluster) -> None:
    async with calling(small) as caller:
        of_agent = await all_items(caller, await respond(caller, "say hello"))
        sent, names = [await plain(caller, [*items, LIST]) for items in (of_agent, named(*of_agent))]
        assert without_ids(await items_of(caller, names["id"])) == without_ids(await items_of(caller, sent["id"]))
        of_session = await all_items(caller, await plain(caller, "say plain", max_output_tokens=4))
        mixed = [of_session[0], of_agent[1], *of_session[1:], of_agent[0]]
        told = await respond(caller, [*named(*mixed), LIST])
        assert said_in(told) == said_in(await respond(caller, [*mixed, LIST]))


async def test_a_call_is_named_and_its_result_sent(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, called("pick"))
        [call] = made["output"]
        told = await respond(caller, [*named(*await all_items(caller, made)), result_of(call)])
        assert said_in(told) == "told a.txt"
        assert thread_of(told) == thread_of(made)
        assert kinds_of(made) == [item["type"] for item in (await items_of(caller, told["id"]))["data"][1:2]]
        [said] = told["output"]
        assert await listed(caller, [*named(said), LIST]) == "assistant: told a.txt | user: list"


async def test_items_are_there_after_a_death_and_gone_with_their_response(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await respond(caller, "say hello")
        items = await all_items(caller, made)
        after = await respond(caller, "say on", previous_response_id=made["id"])
        await rests(small, thread_of(made))
        small.kill_inferlet(thread_of(made))
        assert "assistant: hello" in said_in(await respond(caller, [*named(*items), LIST]))
        await delete(caller, made)
        for item in items:
            refused = await respond(caller, [*named(item), LIST], 404)
            assert (refused["error"]["code"], refused["error"]["message"]) == (
                "item_not_found",
                f"Item with id {item['id']!r} not found.",
            )
        assert await listed(caller, [*named(*after["output"]), LIST]) == "assistant: on | user: list"


async def test_no_item_is_found_that_is_anothers_or_was_not_stored_or_never_was(tmp_path: Path) -> None:
    async with two_owners(tmp_path) as (_, ada, bob):
        made = await respond(ada, "say mine")
        first, last = await all_items(ada, made)
        passing = await respond(ada, "say passing", store=False)
        key = made["id"].removeprefix("resp_")
        ends = ("_o1", "_x0", "a9_o0", "a9r1_o0", "")
        wrong = [f"fc_{key}_o0", f"msg_{key[:32]}_i0", *(f"msg_{key}{end}" for end in ends)]
        for caller, items in (
            (bob, [first]),
            (bob, [last]),
            (ada, passing["output"]),
            *((ada, [first, {"id": item_id}]) for item_id in wrong),
        ):
            refused = await respond(caller, [*named(*items), LIST], 404)
            assert refused["error"]["code"] == "item_not_found"
            refused = await caller.ask("POST", "/v1/responses", {"input": named(*items)}, 404)
            assert refused["error"]["code"] == "item_not_found"


async def test_an_item_is_named_of_a_response_that_is_being_made(small: SmallCluster) -> None:
    async with calling(small) as caller:
        made = await later(caller, HOLD)
        await until_held()
        [said] = (await items_of(caller, made["id"]))["data"]
        before = [*named(said), {"role": "assistant", "content": "so"}, LIST]
        assert await listed(caller, before) == f"user: {HOLD} | assistant: so | user: list", "its input is there"
        last = {"id": f"msg_{made['id'].removeprefix('resp_')}_o2"}
        app, num_runs = build_app(small.greenroom, ApiSettings()), len(await small.greenroom.agents.runs(""))
        body = json.dumps({"model": "agent/helper", "input": named(last)}).encode()
        messages: list[ASGIMessage] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> ASGIMessage:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: ASGIMessage) -> None:
            assert message.get("status") in (None, 499)

        path = "/v1/responses"
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "client": None}
        async with asyncio.timeout(10):
            with suppress(ClientDisconnect):
                await app({**scope, "headers": [(b"host", b"localhost")]}, receive, send)
        assert len(await small.greenroom.agents.runs("")) == num_runs, "who leaves waits no longer"
        waiting = asyncio.create_task(listed(caller, [*named(last), LIST]))
        await asyncio.wait({waiting}, timeout=0.1)
        HELD["a"].set()
        assert await waiting == "assistant: told a | user: list"


async def test_an_item_that_cannot_be_read_now_is_not_said_not_to_be(
    small: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*of: object) -> AsyncIterator[ThreadEvent]:
        for _ in ():
            yield _
        raise Unavailable("the thread cannot be reached")

    async with calling(small) as caller:
        made = await respond(caller, "say hello")
        with monkeypatch.context() as patched:
            patched.setattr(ThreadRef, "stream", lost)
            await respond(caller, [*named(*made["output"]), LIST], 503)
        assert await listed(caller, [*named(*made["output"]), LIST]) == "assistant: hello | user: list"
