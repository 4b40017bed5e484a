"""``truncation: auto``: what does not fit any more is left out, the oldest first, in chains and in chats sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.cluster import Edit
from api.http.openai.responses.draft import newest_of
from api.turns import Earlier, Message, TurnRequest, messages_in
from tests.api.fake_cluster import TOY, FakeCluster, FakeSession
from tests.api.http.openai.responses.oracle import events_of
from tests.api.http.openai.responses.test_stored import create
from tests.api.shell import shell

LIMIT = 400


def small() -> FakeCluster:
    """A cluster whose model holds 400 tokens."""
    return FakeCluster(replace(TOY, max_context_tokens=LIMIT))


def context_of(cluster: FakeCluster) -> str:
    """The text of the last turn's context."""
    return bytes(cluster.turns[-1]._context).decode()


@pytest.mark.parametrize("fields", [{}, {"store": False}, {"instructions": "Be brief."}, {"background": True}])
async def test_a_chain_goes_on_for_ever_with_its_instructions_and_its_newest_items(fields: dict[str, Any]) -> None:
    cluster = small()
    call: dict[str, Any] = {"truncation": "auto", "instructions": "Be kind.", "max_output_tokens": 20}
    async with shell(cluster=cluster) as client:
        body = await create(client, "question 0 " + "x" * 30, **call)
        for number in range(1, 20):
            previous = body["id"]
            body = await create(
                client, f"question {number} " + "x" * 30, **{**call, **fields, "previous_response_id": previous}
            )
            if fields.get("background"):
                ended = await client.get(f"/v1/responses/{body['id']}?stream=true")
                body = events_of(ended)[-1]["response"]
            assert (body["truncation"], body["usage"]["output_tokens"]) == ("auto", 20)
            assert body["usage"]["total_tokens"] <= LIMIT
            instructions = fields.get("instructions", "Be kind.")
            assert context_of(cluster).startswith(f"<system>{instructions}\n")
            assert f"question {number} " in context_of(cluster)
            if fields.get("store") is False:
                break
    assert ("question 0 " in context_of(cluster)) == (fields.get("store") is False)
    if "store" not in fields:
        assert "question 18 " in context_of(cluster)


async def test_what_has_long_been_left_out_is_not_kept_with_later_turns() -> None:
    cluster = FakeCluster(replace(TOY, max_context_tokens=100), max_sessions=200)
    call: dict[str, Any] = {"truncation": "auto", "max_output_tokens": 20}
    async with shell(cluster=cluster) as client:
        previous = None
        for _ in range(90):
            body = await create(client, "x" * 70, **call, previous_response_id=previous)
            previous = body["id"]
    earlier = cluster.turns[-1].request.prompt[0]
    assert isinstance(earlier, Earlier)
    assert 100 <= sum(len(message.content) for message in earlier.messages) <= 100 * 64


async def test_what_is_certainly_too_old_is_not_told_anew_whatever_it_is_made_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, edits, begin = FakeCluster(replace(TOY, max_context_tokens=100)), list[Edit | None](), FakeSession.begin

    async def watched(
        session: FakeSession, request: TurnRequest, after: str | None = None, edit: Edit | None = None
    ) -> object:
        edits.append(edit)
        return await begin(session, request, after, edit)

    monkeypatch.setattr(FakeSession, "begin", watched)
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "x" * 2000}
    result = {"type": "function_call_output", "call_id": "c", "output": ""}
    async with shell(cluster=cluster) as client:
        conversation = (await client.post("/v1/conversations", json={"items": [call, result] * 20})).json()["id"]
        body = {"input": "hi", "conversation": conversation, "truncation": "auto"}
        await client.post("/v1/responses", json=body)
    assert edits[0] is not None
    assert len([message for message in messages_in(edits[0].told) if message.tool_calls]) == 3


async def test_the_last_message_and_the_instructions_are_never_too_old() -> None:
    kind, hello, long = Message("system", "Be kind."), Message("user", "hello"), Message("user", "x" * 1000)
    assert newest_of((), 1) == ()
    assert newest_of((kind,), 1) == (kind,)
    assert newest_of((kind, hello, long), 1) == (kind, long)
    assert newest_of((kind, long, hello), 1) == (kind, hello)
    assert newest_of((kind, long, hello), 100) == (kind, long, hello)


async def test_a_chat_that_is_sent_again_loses_its_oldest_items_whole() -> None:
    cluster = small()
    items: list[dict[str, Any]] = [{"role": "developer", "content": "Be kind."}]
    for number in range(30):
        items += [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"yes {number}"}]
    items.append({"role": "user", "content": "last"})
    async with shell(cluster=cluster) as client:
        await create(client, input=items, truncation="auto", store=False)
        kept = context_of(cluster)
        answer = await client.post("/v1/responses", json={"input": items})
    assert kept.startswith("<developer>Be kind.\n<")
    assert kept[:-5].endswith("<user>question 29\n<assistant>yes 29\n<user>last\n")
    assert (LIMIT - 5) - len("<assistant>yes 29\n<user>question 29\n") < len(kept) - 5 <= LIMIT - 5
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_what_does_not_fit_even_alone_is_refused() -> None:
    async with shell(cluster=small()) as client:
        answer = await client.post("/v1/responses", json={"input": "x" * 500, "truncation": "auto"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
