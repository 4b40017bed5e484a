"""Items that a body only names: read once, counted as often as they are named, and waited for by who is there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message as ASGIMessage

from api.http.app import build_app
from api.http.openai.responses.ids import new_response_id, output_item_id
from api.settings import ApiSettings
from api.turns import Message, Stop, TurnRequest, messages_in
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.responses.test_stored import Body, create
from tests.api.shell import shell

LIMIT = ApiSettings(max_prompt_chars=2000)
PATHS = ("/v1/responses", "/v1/responses/input_tokens", "/v1/responses/compact", "/v1/conversations")


def named(*item_ids: str) -> list[Body]:
    """References to these items."""
    return [{"type": "item_reference", "id": item_id} for item_id in item_ids]


def body_of(path: str, items: list[Body]) -> Body:
    """One that names these items."""
    return {"items": items} if path.startswith("/v1/conversations") else {"input": items, "max_output_tokens": 1}


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_named_often_is_read_once_and_counts_each_time(path: str, calls: Counter[str]) -> None:
    async with shell(settings=LIMIT) as client:
        first = await create(client, "x" * 100)
        item_id = (await client.get(f"/v1/responses/{first['id']}/input_items")).json()["data"][0]["id"]
        for times, status in (5, 200), (10_000, 413):
            calls.clear()
            answer = await client.post(path, json=body_of(path, named(*[item_id] * times)))
            assert answer.status_code == status, answer.text
            assert calls.total() < 10


async def test_all_that_one_response_holds_is_read_at_once(calls: Counter[str]) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        made = await client.post(
            "/v1/responses",
            json={"input": [{"role": "user", "content": str(number)} for number in range(50)], "max_output_tokens": 1},
        )
        items = (await client.get(f"/v1/responses/{made.json()['id']}/input_items?limit=50&order=asc")).json()["data"]
        calls.clear()
        await create(client, named(*(item["id"] for item in reversed(items))))  # type: ignore[arg-type]
    assert messages_in(cluster.turns[1].request.prompt) == tuple(Message("user", str(n)) for n in reversed(range(50)))
    assert calls.total() < 10


async def test_no_more_is_read_than_may_be_told(calls: Counter[str]) -> None:
    async with shell(settings=LIMIT) as client:
        ids = [(await create(client, "x" * 900))["output"][0]["id"].replace("_o", "_i") for _ in range(20)]
        calls.clear()
        answer = await client.post("/v1/responses", json={"input": named(*ids)})
        assert (answer.status_code, calls["turn"]) == (413, 3)


async def test_what_was_added_to_a_conversation_is_found_in_one_walk(calls: Counter[str]) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        path = f"/v1/conversations/{(await client.post('/v1/conversations', json={})).json()['id']}/items"
        ids = []
        for number in range(40):
            added = await client.post(path, json={"items": [{"role": "user", "content": str(number)}]})
            ids.append(added.json()["data"][0]["id"])
        calls.clear()
        await create(client, named(*ids))  # type: ignore[arg-type]
    assert messages_in(cluster.turns[0].request.prompt) == tuple(Message("user", str(n)) for n in range(40))
    assert (calls["turn"], calls["log"]) == (40, 3), "one look at its state, and two windows of its log"


@pytest.mark.parametrize("path", PATHS)
async def test_a_client_that_leaves_waits_no_longer_for_an_item_that_is_being_made(path: str) -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with shell(cluster=cluster) as client:
        making = await create(client, background=True)
    body = body_of(path, named(output_item_id(making["id"], "message", 0)))
    messages: list[ASGIMessage] = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> ASGIMessage:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: ASGIMessage) -> None:
        assert message.get("status") in (None, 499)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "client": None}
    async with asyncio.timeout(10):
        with suppress(ClientDisconnect):
            await build_app(cluster, ApiSettings())(scope, receive, send)
    assert len(cluster.turns) == 1
    cluster.pace.release()


async def test_an_answer_that_is_told_again_has_no_log_probabilities() -> None:
    async with shell() as client:
        scored = await create(client, include=["message.output_text.logprobs"], top_logprobs=2)
        (part,) = scored["output"][0]["content"]
        again = await create(client, named(scored["output"][0]["id"]))  # type: ignore[arg-type]
        (item,) = (await client.get(f"/v1/responses/{again['id']}/input_items")).json()["data"]
    assert part["logprobs"]
    assert item["content"] == [part | {"logprobs": []}]


async def test_a_turn_that_is_called_like_a_response_is_none() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        session_id = (await client.post("/api/sessions", json={})).json()["id"]
        turn_id = new_response_id(session_id)
        request = TurnRequest(turn_id, (Message("user", "x"),), stop=Stop(max_tokens=1))
        await cluster.open_sessions[session_id].begin(request)
        assert (await client.get(f"/v1/responses/{turn_id}")).status_code == 404
        answer = await client.post("/v1/responses", json={"input": named(output_item_id(turn_id, "message", 0))})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "item_not_found")
