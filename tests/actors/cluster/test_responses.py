"""Responses over sessions as they are, without Ray: what the journal keeps of them, over the death of their actors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from actors.directory.directory import Directory
from api.http.app import build_app
from api.settings import ApiSettings, OpenAISettings
from tests.actors.small_cluster import SmallCluster
from tests.api.http.openai.responses.oracle import check_response, events_of

Body = dict[str, Any]


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1) as small:
        yield small


def gateway(small: SmallCluster, settings: OpenAISettings | None = None) -> httpx.AsyncClient:
    """A client of a gateway of its own."""
    app = build_app(small.greenroom, ApiSettings(openai=settings or OpenAISettings()))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)


async def create(client: httpx.AsyncClient, text: str, **fields: Any) -> Body:
    """The body of a response of five tokens."""
    answer = await client.post("/v1/responses", json={"input": text, "max_output_tokens": 5, **fields})
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    check_response(body)
    return body


def session_of(response_id: str) -> str:
    """The session whose turn it is."""
    return response_id.removeprefix("resp_")[:32]


async def test_the_texts_of_tokens_cost_the_directory_one_call_for_each_model_actor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed, place = [], Directory.place

    async def counted(directory: Directory, *args: Any) -> Any:
        placed.append(args)
        return await place(directory, *args)

    monkeypatch.setattr(Directory, "place", counted)
    async with SmallCluster(tmp_path, num_models=2, pool_size=1) as small:
        texts = [await small.greenroom.token_bytes(None, (number,)) for number in range(5, 25)]
        assert len(placed) == 1
        for gone in 0, 1:
            small.kill_model(gone)
            assert [await small.greenroom.token_bytes(None, (number,)) for number in range(5, 25)] == texts
            await small.start_model(gone)
        assert len(placed) in (2, 3)


async def test_a_chain_and_its_branches_are_found_and_gone_on_from_after_the_death_of_everything(
    small: SmallCluster,
) -> None:
    async with gateway(small) as client:
        first = await create(client, "one", metadata={"a": "b"})
        left = await create(client, "two", previous_response_id=first["id"])
        right = await create(client, "two", previous_response_id=first["id"])
        assert (session_of(left["id"]), left["output"][0]["content"]) == (
            session_of(first["id"]),
            right["output"][0]["content"],
        )
        assert session_of(right["id"]) != session_of(first["id"])
    for session_id in {session_of(body["id"]) for body in (left, right)}:
        small.kill_session(session_id)
    small.kill_model()
    small.restart_directory()
    await small.start_model(0)
    async with gateway(small) as client:
        for body in first, left, right:
            found = (await client.get(f"/v1/responses/{body['id']}")).json()
            assert {**found, "completed_at": None} == {**body, "completed_at": None}
        more = [await create(client, "three", previous_response_id=body["id"]) for body in (left, right)]
    assert more[0]["output"][0]["content"] == more[1]["output"][0]["content"]
    assert more[0]["usage"]["input_tokens"] == more[1]["usage"]["input_tokens"] > left["usage"]["total_tokens"]


async def test_responses_in_the_background_are_made_after_the_death_of_their_session(small: SmallCluster) -> None:
    small.engines[0].hold.clear()
    async with gateway(small) as client:
        first = await create(client, "one", background=True)
        second = await create(client, "two", background=True, previous_response_id=first["id"])
        assert (first["status"], second["status"]) == ("queued", "queued")
        small.kill_session(session_of(first["id"]))
        small.engines[0].hold.set()
        events = events_of(await client.get(f"/v1/responses/{second['id']}?stream=true"))
        assert events[-1]["response"]["status"] == "incomplete"
        undisturbed = await create(client, "one")
        again = await create(client, "two", previous_response_id=undisturbed["id"])
        assert events[-1]["response"]["output"][0]["content"] == again["output"][0]["content"]


async def test_a_stored_response_is_kept_for_its_time_after_the_last_use_of_its_session(small: SmallCluster) -> None:
    async with gateway(small, OpenAISettings(retention_days=2.0 / 86_400)) as brief, gateway(small) as lasting:
        kept, gone = await create(lasting, "one"), await create(brief, "one")
        while len(await small.greenroom.sessions()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert (await brief.get(f"/v1/responses/{kept['id']}")).status_code == 200
        assert (await lasting.get(f"/v1/responses/{gone['id']}")).status_code == 404
        again = await brief.post("/v1/responses", json={"input": "x", "previous_response_id": gone["id"]})
        assert again.json()["error"]["code"] == "previous_response_not_found"


async def test_the_last_deleted_response_of_a_session_ends_it(small: SmallCluster) -> None:
    async with gateway(small) as client:
        first = await create(client, "one")
        second = await create(client, "two", previous_response_id=first["id"])
        for body in first, second:
            assert len(await small.greenroom.sessions()) == 1
            assert (await client.delete(f"/v1/responses/{body['id']}")).status_code == 200
            assert (await client.get(f"/v1/responses/{body['id']}")).status_code == 404
    assert await small.greenroom.sessions() == ()
