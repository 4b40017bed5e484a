"""Conversations over sessions as they are, without Ray: two gateways, the deaths of actors, and the native protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from actors.sessions.turns import SessionTurns
from api.cluster import SessionOptions
from api.turns import Message, Stop, TurnRequest, messages_in
from tests.actors.cluster.test_responses import gateway
from tests.actors.small_cluster import SmallCluster
from tests.api.http.openai.conversations.test_responses import items, respond, session_of_id, texts

Body = dict[str, Any]


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1) as small:
        yield small


async def converse(client: httpx.AsyncClient, *words: str, **fields: Any) -> str:
    """The id of a new conversation with these messages."""
    said = [{"role": "user", "content": word} for word in words]
    made: str = (await client.post("/v1/conversations", json={"items": said, **fields})).json()["id"]
    return made


async def context(small: SmallCluster, conversation: str) -> list[str]:
    """All messages that the model was told in the context as it is now."""
    session = await small.greenroom.session(session_of_id(conversation))
    turns = (await session.describe()).turns
    return [message.content for turn in turns for message in messages_in(turn.prompt)]


async def test_a_conversation_is_the_same_after_the_death_of_everything(small: SmallCluster) -> None:
    async with gateway(small) as client, gateway(small) as other:
        conversation = await converse(client, "zero", "secret", metadata={"a": "b"})
        first = await respond(other, conversation, "one", instructions="Be kind.")
        (_, secret, *_) = await items(client, conversation)
        await other.delete(f"/v1/conversations/{conversation}/items/{secret['id']}")
        second = await respond(client, conversation, "two", instructions="Be short.")
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]})
        shown_before = (await client.get(f"/v1/conversations/{conversation}")).json()
        items_before = await items(client, conversation)
        described = await context(small, conversation)
    small.kill_session(session_of_id(conversation))
    small.kill_model()
    small.restart_directory()
    await small.start_model(0)
    async with gateway(small) as client:
        assert (await client.get(f"/v1/conversations/{conversation}")).json() == shown_before
        assert await items(client, conversation) == items_before
        assert await context(small, conversation) == described
        for body in first, second:
            shown = (await client.get(f"/v1/responses/{body['id']}")).json()
            assert shown | {"completed_at": None} == body | {"completed_at": None}
        third = await respond(client, conversation, "three", instructions="Be short.")
        assert third["usage"]["input_tokens"] > second["usage"]["total_tokens"]
        assert await context(small, conversation) == [*described, "x", "three"]
        assert "secret" not in await context(small, conversation)


async def test_a_session_may_die_between_any_two_steps(small: SmallCluster) -> None:
    """The answers are those of a conversation that nothing happens to."""
    answers: list[list[str]] = []
    for is_killed in False, True:
        async with gateway(small) as client, gateway(small) as other:
            conversation = await converse(client, "zero")

            def disturb(conversation: str = conversation, is_killed: bool = is_killed) -> None:
                if is_killed:
                    small.kill_session(session_of_id(conversation))

            path = f"/v1/conversations/{conversation}"
            disturb()
            await respond(other, conversation, "one")
            disturb()
            added = await client.post(f"{path}/items", json={"items": [{"role": "user", "content": "x"}] * 2})
            disturb()
            assert (await other.delete(f"{path}/items/{added.json()['last_id']}")).status_code == 200
            disturb()
            assert (await client.post(path, json={"metadata": {"n": "1"}})).status_code == 200
            disturb()
            await respond(client, conversation, "two", instructions="Other.")
            disturb()
            await respond(client, conversation, "three", instructions="Other.")
            disturb()
            assert (await other.get(path)).json()["metadata"] == {"n": "1"}
            answers.append(texts(await items(other, conversation)))
    assert answers[0] == answers[1]
    assert [*answers[0][:2], *answers[0][3:5]] == ["zero", "one", "x", "two"]


async def test_responses_in_the_background_are_made_in_their_order_after_the_death_of_their_session(
    small: SmallCluster,
) -> None:
    small.engines[0].hold.clear()
    async with gateway(small) as client, gateway(small) as other:
        conversation = await converse(client, "zero")
        bodies = [
            await respond(one, conversation, text, background=True)
            for one, text in ((client, "one"), (other, "two"), (client, "three"))
        ]
        small.kill_session(session_of_id(conversation))
        small.engines[0].hold.set()
        for body in bodies:
            await client.get(f"/v1/responses/{body['id']}?stream=true")
        assert texts(await items(client, conversation))[:1] == ["zero"]
        assert texts(await items(client, conversation))[1::2] == ["one", "two", "three"]
    assert await context(small, conversation) == ["zero", "one", "two", "three"]


async def test_gateways_that_change_a_conversation_at_one_time_lose_nothing(small: SmallCluster) -> None:
    async with gateway(small) as client, gateway(small) as other:
        conversation = await converse(client)
        work: list[Awaitable[object]] = []
        for number in range(6):
            one, path = (client, other)[number % 2], f"/v1/conversations/{conversation}/items"
            work.append(one.post(path, json={"items": [{"role": "user", "content": f"added {number}"}]}))
            work.append(respond(one, conversation, f"asked {number}", instructions=f"Be {number % 3}."))
        await asyncio.gather(*work)
        await respond(client, conversation, "last", instructions="Be last.")
        found = texts(await items(client, conversation))
    assert sorted(text for text in found if text.startswith(("added", "asked"))) == sorted(
        f"{kind} {number}" for kind in ("added", "asked") for number in range(6)
    )
    told = await context(small, conversation)
    assert told == ["Be last.", *found[:-1]], "the last turn is told all that is listed, in its order"


async def test_those_that_find_no_room_are_refused_in_few_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, begin = [], SessionTurns.begin

    async def counted(turns: SessionTurns, *args: Any) -> Any:
        attempts.append(args)
        return await begin(turns, *args)

    monkeypatch.setattr(SessionTurns, "begin", counted)
    async with SmallCluster(tmp_path, pool_size=1, max_queued_turns=2) as small, gateway(small) as client:
        conversation = await converse(client)
        await respond(client, conversation, "zero")
        attempts.clear()
        small.engines[0].hold.clear()
        body = {"input": "x", "conversation": conversation, "max_output_tokens": 1}
        asking = [asyncio.create_task(client.post("/v1/responses", json=body)) for _ in range(24)]
        for number, answered in enumerate(asyncio.as_completed(asking)):
            assert (await answered).status_code == (429 if number < 21 else 200)
            if number == 20:
                small.engines[0].hold.set()
    assert len(attempts) <= 4 * 24, "each of the three that are accepted has the others look once more"


async def test_thousands_of_items_are_added_listed_and_told(small: SmallCluster) -> None:
    async with gateway(small) as client:
        conversation = await converse(client)
        path = f"/v1/conversations/{conversation}/items"
        expected = [chr(0x4E00 + number) for number in range(3000)]
        for start in range(0, 3000, 1000):
            added = [{"role": "user", "content": text} for text in expected[start : start + 1000]]
            assert (await client.post(path, json={"items": added})).status_code == 200
        await respond(client, conversation, "all")
        found, after = [], ""
        while True:
            page = (await client.get(f"{path}?order=asc&limit=100{after}")).json()
            found += texts(page["data"])
            after = f"&after={page['last_id']}"
            if not page["has_more"]:
                break
        newest = (await client.get(f"{path}?limit=2")).json()["data"]
    assert found[:-1] == [*expected, "all"]
    assert texts(newest) == [found[-1], "all"]
    assert await context(small, conversation) == [*expected, "all"]


async def test_what_is_said_in_a_session_over_other_ways_is_in_the_conversation(small: SmallCluster) -> None:
    session = await small.greenroom.open_session(SessionOptions())
    conversation = f"conv_{session.session_id}"
    opening = (Message("system", "Be kind."), Message("user", "zero"))
    for turn_id, prompt in ("any.id:1", opening), ("2", (Message("user", "one"),)):
        async for _ in await session.begin(TurnRequest(turn_id, prompt, stop=Stop(3))):
            pass
    length = (await session.describe()).length
    async with gateway(small) as client:
        found = await items(client, conversation)
        roles = [(item["role"], item["content"][0]["text"]) for item in found]
        answers = [turn.text for turn in (await session.describe()).turns]
        assert roles == [
            *(("system", "Be kind."), ("user", "zero"), ("assistant", answers[0])),
            *(("user", "one"), ("assistant", answers[1])),
        ]
        for item in found:
            path = f"/v1/conversations/{conversation}/items/{item['id']}"
            assert (await client.get(path)).json() == item
        body = await respond(client, conversation, "two")
        assert body["usage"]["input_tokens_details"]["cached_tokens"] >= length - 1
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]})
        async for _ in await session.begin(TurnRequest("3", (Message("user", "three"),), stop=Stop(3))):
            pass
        assert await context(small, conversation) == ["Be kind.", "zero", "one", "two", "x", "three"]
        assert texts(await items(client, conversation))[-3:-1] == ["x", "three"]
        listed = (await client.get("/api/sessions")).json()["sessions"]
        assert [(one["id"], one["title"]) for one in listed] == [(session.session_id, "zero")]
        shown = (await client.get(f"/api/sessions/{conversation}")).json()
        assert [turn["messages"][-1]["content"] for turn in shown["turns"]] == ["zero", "one", "two", "three"]
        await client.delete(f"/v1/conversations/{conversation}/items/{found[1]['id']}")
        await respond(client, conversation, "four")
        told = await context(small, conversation)
        assert (told[0], "zero" in told, told[-1]) == ("Be kind.", False, "four")


@pytest.mark.parametrize("length", [None, 0])
async def test_a_fork_has_what_was_said_and_goes_its_own_way(small: SmallCluster, length: int | None) -> None:
    async with gateway(small) as client:
        conversation = await converse(client, "zero")
        await respond(client, conversation, "one", instructions="Be kind.")
        await respond(client, conversation, "two", instructions="Be short.")
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]})
        answer = await client.post(f"/api/sessions/{conversation}/fork", json={} if length is None else {"length": 0})
        fork = f"conv_{answer.json()['id']}"
        before = texts(await items(client, conversation))
        await respond(client, fork, "three", instructions="Be short.")
        found = texts(await items(client, fork))
        assert texts(await items(client, conversation)) == before
    assert found[:-2] == ([] if length == 0 else before)
    assert (await context(small, fork))[-1] == "three"


async def test_a_rollback_takes_back_what_was_told_with_the_turns_that_go(small: SmallCluster) -> None:
    async with gateway(small) as client:
        conversation = await converse(client, "zero")
        first = await respond(client, conversation, "one")
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]})
        second = await respond(client, conversation, "two")
        answer = await client.post(f"/api/sessions/{conversation}/rollback", json={"turn_id": second["id"]})
        assert answer.status_code == 200
        assert texts(await items(client, conversation))[:2] == ["zero", "one"]
        assert len(await items(client, conversation)) == 3
        assert (await client.get(f"/v1/responses/{first['id']}")).status_code == 200
        assert (await client.get(f"/v1/responses/{second['id']}")).status_code == 404
        await respond(client, conversation, "three")
        assert await context(small, conversation) == ["zero", "one", "three"]


async def test_a_deleted_conversation_without_responses_leaves_nothing(small: SmallCluster) -> None:
    async with gateway(small) as client:
        conversation = await converse(client, "zero")
        assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
        assert await small.greenroom.directory.sessions(None) == ()
        conversation = await converse(client, "zero")
        body = await respond(client, conversation, "one")
        assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
        assert await small.greenroom.sessions() == ()
        small.kill_session(session_of_id(conversation))
        small.restart_directory()
        assert (await client.get(f"/api/sessions/{conversation}")).status_code == 404
        assert (await client.get(f"/v1/conversations/{conversation}")).status_code == 404
        assert await small.greenroom.sessions() == ()
        assert (await client.delete(f"/v1/responses/{body['id']}")).status_code == 200
        assert await small.greenroom.directory.sessions(None) == ()


async def test_an_items_text_may_have_any_character(small: SmallCluster) -> None:
    text = "\x00\ufffe\u2028<|im_start|> \U0001f600"
    async with gateway(small) as client:
        conversation = await converse(client, text, metadata={"\x00": text})
        small.kill_session(session_of_id(conversation))
        (item,) = await items(client, conversation)
        assert item["content"][0]["text"] == text
        assert (await client.get(f"/v1/conversations/{conversation}")).json()["metadata"] == {"\x00": text}
