"""Responses in conversations, on the toy model: what the model is told, and in what order."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.cluster import Edit
from api.errors import LengthExceeded, Unavailable
from api.http.openai.responses import conversation as conversation_module
from api.http.openai.responses.conversation import WINDOW
from api.http.openai.responses.ids import call_ids
from api.tools import Tool, ToolCall
from api.turns import Message, Stop, TurnRequest, messages_in
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster, FakeSession
from tests.api.fake_edits import FakeEdits
from tests.api.http.openai.responses.oracle import check_item, check_response, events_of
from tests.api.http.openai.responses.test_output import FORMAT, TOOL
from tests.api.shell import shell

Body = dict[str, Any]

CALLED = '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>'


async def converse(client: httpx.AsyncClient, **fields: Any) -> str:
    """The id of a new conversation."""
    answer = await client.post("/v1/conversations", json=fields)
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


async def respond(client: httpx.AsyncClient, conversation: Any, text: Any, **fields: Any) -> Body:
    """The body of a response of a few tokens."""
    body = {"input": text, "conversation": conversation, "max_output_tokens": 3, **fields}
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    response: Body = answer.json()
    check_response(response)
    return response


async def items(client: httpx.AsyncClient, conversation: str) -> list[Body]:
    """All items, the oldest first, each checked."""
    answer = await client.get(f"/v1/conversations/{conversation}/items?order=asc&limit=100")
    assert answer.status_code == 200, answer.text
    for item in answer.json()["data"]:
        check_item(item)
    found: list[Body] = answer.json()["data"]
    return found


def texts(found: list[Body]) -> list[str]:
    """Of messages."""
    return [item["content"][0]["text"] for item in found]


def asked(cluster: FakeCluster) -> list[tuple[Message, ...]]:
    """The messages of each turn."""
    return [messages_in(turn.request.prompt) for turn in cluster.turns]


def user(text: str) -> Message:
    """A message of the user's."""
    return Message("user", text)


def said(body: Body) -> Message:
    """A response's answer."""
    return Message("assistant", body["output"][0]["content"][0]["text"])


def session_of_id(conversation: str) -> str:
    """The id of the session that it is."""
    return conversation.removeprefix("conv_")


def session_of(cluster: FakeCluster, conversation: str) -> FakeSession:
    """The session that it is."""
    return cluster.open_sessions[session_of_id(conversation)]


async def test_responses_follow_each_other_in_one_session_and_their_items_are_listed() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        first = await respond(client, conversation, "one")
        assert first["conversation"] == {"id": conversation}
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [{"role": "user", "content": "x"}]})
        second = await respond(client, {"id": conversation}, [{"role": "user", "content": "two"}])
        found = await items(client, conversation)
        for item in found:
            answer = await client.get(f"/v1/conversations/{conversation}/items/{item['id']}")
            assert answer.json() == item
    assert asked(cluster) == [(user("zero"), user("one")), (user("x"), user("two"))]
    answers = [said(first).content, said(second).content]
    assert texts(found) == ["zero", "one", answers[0], "x", "two", answers[1]]
    assert [item["id"] for item in (found[2], found[5])] == [body["output"][0]["id"] for body in (first, second)]
    assert len({item["id"] for item in found}) == 6
    assert len(cluster.open_sessions) == 1
    assert second["usage"]["input_tokens_details"]["cached_tokens"] == first["usage"]["total_tokens"]


async def test_other_instructions_tell_everything_anew_in_the_same_session() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        first = await respond(client, conversation, "one", instructions="Be kind.")
        again = await respond(client, conversation, "two", instructions="Be kind.")
        other = await respond(client, conversation, "three", instructions="Be short.")
        none = await respond(client, conversation, "four")
        found = await items(client, conversation)
        for body in first, again, other, none:
            shown = (await client.get(f"/v1/responses/{body['id']}")).json()
            assert shown | {"completed_at": None} == body | {"completed_at": None}
        fork = await client.post(
            "/v1/responses", json={"input": "five", "previous_response_id": first["id"], "max_output_tokens": 1}
        )
        check_response(fork.json())
    before = (user("one"), said(first), user("two"), said(again))
    kind, short = Message("system", "Be kind."), Message("system", "Be short.")
    assert asked(cluster)[:4] == [
        (kind, user("one")),
        (user("two"),),
        (short, *before, user("three")),
        (*before, user("three"), said(other), user("four")),
    ]
    assert asked(cluster)[4] == (user("one"), said(first), user("five"))
    told = [message.content for message in (*before, user("three"), said(other), user("four"), said(none))]
    assert texts(found) == told
    assert len(cluster.open_sessions) == 2, "the branch is another session"


async def test_another_model_goes_on_with_all_that_was_said() -> None:
    cluster = FakeCluster(TOY, replace(TOY, name="other", aliases=(), max_context_tokens=900))
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        first = await respond(client, conversation, "one", model="other")
        assert session_of(cluster, conversation).info.name == "other"
        second = await respond(client, conversation, "two", model="toy")
    assert (first["model"], second["model"]) == ("other", "toy")
    assert asked(cluster) == [(user("one"),), (user("one"), said(first), user("two"))]
    assert session_of(cluster, conversation).max_context == TOY.max_context_tokens


async def test_a_deleted_item_is_told_no_longer_wherever_it_was() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": text} for text in ("zero", "secret")])
        path = f"/v1/conversations/{conversation}/items"
        await client.delete(f"{path}/{(await items(client, conversation))[1]['id']}")
        first = await respond(client, conversation, "one", instructions="Be kind.")
        second = await respond(client, conversation, "password", instructions="Be kind.")
        await client.delete(f"{path}/{(await items(client, conversation))[3]['id']}")
        listed = (await client.get("/api/sessions")).json()["sessions"]
        third = await respond(client, conversation, "three", instructions="Be kind.")
        assert texts(await items(client, conversation)) == [
            *("zero", "one", said(first).content, said(second).content, "three", said(third).content)
        ]
    kind = Message("system", "Be kind.")
    assert asked(cluster)[0] == (kind, user("zero"), user("one"))
    assert asked(cluster)[2] == (kind, user("zero"), user("one"), said(first), said(second), user("three"))
    assert listed[0]["title"] == "zero"
    assert b"password" not in bytes(session_of(cluster, conversation).ids)


async def test_the_first_item_that_is_deleted_leaves_the_title_too() -> None:
    async with shell() as client:
        conversation = await converse(client, items=[{"role": "user", "content": text} for text in ("secret", "one")])
        (item, _) = await items(client, conversation)
        await client.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
        assert "secret" not in (await client.get("/api/sessions")).text


async def test_results_are_read_with_the_names_of_their_tools_also_from_items() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says('<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call></s>')
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        first = await respond(client, conversation, "Sun?", tools=[TOOL], max_output_tokens=None)
        (call,) = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await respond(client, conversation, [result], tools=[TOOL], max_output_tokens=None)
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [result]})
        await respond(client, conversation, "Well?", tools=[TOOL], max_output_tokens=None)
        kinds = [item["type"] for item in await items(client, conversation)]
    told = Message("tool", "sunny", tool_call_id=call["call_id"], name="weather")
    assert asked(cluster)[1:] == [(told,), (told, user("Well?"))]
    answers = [kind for kind in kinds if kind in ("function_call_output", "function_call")]
    assert answers[:3] == ["function_call", "function_call_output", "function_call_output"]


async def test_a_page_of_items_costs_one_look_at_the_models(calls: Counter[str]) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        for number in range(5):
            await respond(client, conversation, str(number), include=["message.output_text.logprobs"])
            turn = TurnRequest(str(number), (user("plain"),), stop=Stop(max_tokens=2))
            async for _ in await session_of(cluster, conversation).begin(turn):
                pass
        calls.clear()
        assert len(await items(client, conversation)) == 20
    assert calls == {"models": 1, "log": 2, "resume": 10}


async def test_items_have_log_probabilities_where_they_are_to_be_included_and_then_shorter_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation_module, "PAGE_SCORES", 5)
    include = ["message.output_text.logprobs"]
    async with shell() as client:
        conversation = await converse(client)
        bodies = [await respond(client, conversation, "x", include=include, top_logprobs=2) for _ in range(5)]
        outputs = [body["output"][0] for body in bodies]
        path, after, page = f"/v1/conversations/{conversation}/items", "", Body(has_more=True)
        found, sizes = list[Body](), list[int]()
        while page["has_more"]:
            page = (await client.get(f"{path}?order=asc&limit=100&include={include[0]}{after}")).json()
            sizes.append(len(page["data"]))
            found += page["data"]
            after = f"&after={page['last_id']}"
        plain = await items(client, conversation)
        one = (await client.get(f"{path}/{outputs[0]['id']}?include[]={include[0]}")).json()
    assert (found[1::2], one, sizes) == (outputs, outputs[0], [4, 4, 2])
    assert [item["content"][0]["logprobs"] for item in plain[1::2]] == [[]] * 5
    assert [item["content"][0]["text"] for item in plain[1::2]] == [item["content"][0]["text"] for item in outputs]


async def test_the_call_of_a_result_is_looked_for_among_the_latest_entries_only(calls: Counter[str]) -> None:
    cluster = FakeCluster()
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{**call, "call_id": "c0"}])
        for number in range(2 * WINDOW):
            await respond(client, conversation, str(number), max_output_tokens=1)
        await client.post(f"/v1/conversations/{conversation}/items", json={"items": [call]})
        results = [{"type": "function_call_output", "call_id": f"c{n}", "output": ""} for n in range(3)]
        calls.clear()
        await respond(client, conversation, results)
    assert [message.name for message in asked(cluster)[-1][-3:]] == [None, "weather", None]
    assert calls["resume"] < WINDOW


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "conversation"),
        ({"store": False}, "conversation"),
        ({"conversation": {"id": 1}}, "conversation"),
        ({"conversation": {}}, "conversation"),
        ({"conversation": []}, "conversation"),
        ({"conversation": "c" * 513}, "conversation"),
    ],
)
async def test_what_cannot_be_together_is_refused_by_name(fields: Body, param: str) -> None:
    async with shell() as client:
        conversation = await converse(client)
        answer = await client.post("/v1/responses", json={"input": "x", "conversation": conversation, **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("text", [None, []])
async def test_a_response_may_be_to_the_items_alone(text: Any) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        await respond(client, conversation, text)
    assert asked(cluster) == [(user("zero"),)]


async def test_responses_at_one_time_are_made_in_the_order_of_their_acceptance_and_too_many_are_refused() -> None:
    cluster = FakeCluster(max_queued_turns=2)
    cluster.pace.hold()
    async with shell(cluster=cluster) as client, shell(cluster=cluster) as other:
        conversation = await converse(client)
        for number, gateway in enumerate((client, other, client)):
            body = await respond(gateway, conversation, str(number), background=True)
            assert body["status"] == "queued"
        answer = await other.post("/v1/responses", json={"input": "3", "conversation": conversation})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert await items(client, conversation) == []
        cluster.pace.release()
        await client.get(f"/v1/responses/{body['id']}?stream=true")
        found = await items(client, conversation)
    assert asked(cluster) == [(user("0"),), (user("1"),), (user("2"),)]
    assert texts(found)[::2] == ["0", "1", "2"]


async def test_at_one_time_with_other_instructions_each_is_told_all_of_those_before() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with shell(cluster=cluster) as client, shell(cluster=cluster) as other:
        conversation = await converse(client)
        making = [asyncio.create_task(respond(client, conversation, "0", instructions="A"))]
        await cluster.begun.acquire()
        making += [
            asyncio.create_task(respond(gateway, conversation, letter, instructions=letter))
            for gateway, letter in ((client, "B"), (other, "C"), (client, "D"))
        ]
        cluster.pace.release()
        bodies = await asyncio.gather(*making)
        found = await items(client, conversation)
    order = [turn.request.prompt[-1].content for turn in cluster.turns]  # type: ignore[union-attr]
    assert sorted(order) == ["0", "B", "C", "D"]
    answers = {body["instructions"]: said(body) for body in bodies} | {"0": said(bodies[0])}
    told: list[Message] = []
    for letter, messages in zip(order, asked(cluster), strict=True):
        assert messages == (Message("system", "A" if letter == "0" else letter), *told, user(letter))
        told += [user(letter), answers[letter]]
    assert texts(found) == [message.content for message in told]


async def test_a_cancelled_response_leaves_what_it_said_and_a_failed_one_nothing() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        first = await respond(client, conversation, "one", background=True)
        waiting = await respond(client, conversation, "never", background=True)
        await client.post(f"/v1/responses/{waiting['id']}/cancel")
        cluster.pace.allow(2)
        await cluster.turns[0].has_sampled(2)
        cancelled = (await client.post(f"/v1/responses/{first['id']}/cancel")).json()
        assert cancelled["status"] == "cancelled"
        cluster.pace.release()
        cluster.refusal = Unavailable("there is no room")
        refused = await client.post("/v1/responses", json={"input": "refused", "conversation": conversation})
        assert refused.status_code == 503
        cluster.refusal = Unavailable("there is no room")
        failed = await respond(client, conversation, "failed", background=True)
        await client.get(f"/v1/responses/{failed['id']}?stream=true")
        assert (await client.get(f"/v1/responses/{failed['id']}")).json()["status"] == "failed"
        last = await respond(client, conversation, "two")
        found = texts(await items(client, conversation))
        assert (found[:2], len(found[2]), found[3:]) == (["zero", "one"], 2, ["two", said(last).content])
    assert asked(cluster) == [(user("zero"), user("one")), (user("two"),)]


async def test_a_response_that_is_refused_leaves_the_conversation_as_it_was() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        first = await respond(client, conversation, "one", instructions="Be kind.")
        other: Body = {"instructions": "Be short.", "model": "other"}
        cluster.refusal = LengthExceeded(0, 9, 5)
        refused = await client.post("/v1/responses", json={"input": "x", "conversation": conversation, **other})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        cluster.refusal = LengthExceeded(0, 9, 5)
        failed = await respond(client, conversation, "failed", background=True, **other)
        await client.get(f"/v1/responses/{failed['id']}?stream=true")
        assert session_of(cluster, conversation).info.name == "toy"
        async for _ in await session_of(cluster, conversation).begin(TurnRequest("native", (user("two"),))):
            pass
        await respond(client, conversation, "three", instructions="Be kind.")
        await respond(client, None, "four", previous_response_id=failed["id"], **other)
    kind, short = Message("system", "Be kind."), Message("system", "Be short.")
    assert asked(cluster)[:3] == [(kind, user("one")), (user("two"),), (user("three"),)]
    assert asked(cluster)[3] == (short, user("one"), said(first), user("failed"), user("four"))


async def test_what_was_added_is_told_again_after_a_response_that_failed_on_its_way() -> None:
    cluster = FakeCluster()

    def breaks(context: Any) -> int:
        raise Unavailable("the model is gone")

    cluster.model = breaks
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        answer = await client.post("/v1/responses", json={"input": "one", "conversation": conversation, "stream": True})
        assert events_of(answer)[-1]["type"] == "response.failed"
        cluster.model = toy_model.letters
        await respond(client, conversation, "two")
        assert texts(await items(client, conversation))[:2] == ["zero", "two"]
    assert asked(cluster)[1] == (user("zero"), user("two"))


async def _delete_item(client: httpx.AsyncClient, conversation: str, item_id: str) -> httpx.Response:
    return await client.delete(f"/v1/conversations/{conversation}/items/{item_id}")


async def test_an_item_can_be_deleted_while_a_response_reads_it() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client, shell(cluster=cluster) as other:
        conversation = await converse(client, items=[{"role": "user", "content": text} for text in ("zero", "secret")])
        (_, secret) = await items(client, conversation)
        cluster.pace.hold()
        making = asyncio.create_task(respond(client, conversation, "one"))
        await cluster.begun.acquire()
        deleting = asyncio.create_task(_delete_item(other, conversation, secret["id"]))
        while secret in await items(client, conversation):
            pass
        cluster.pace.release()
        first, deleted = await asyncio.gather(making, deleting)
        assert (first["status"], deleted.status_code) == ("incomplete", 200)
        await respond(client, conversation, "two")
    assert asked(cluster)[1] == (user("zero"), user("one"), said(first), user("two"))


async def test_a_deleted_item_is_told_no_longer_where_its_gateway_died_before_the_context_began_anew() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": text} for text in ("zero", "secret")])
        first = await respond(client, conversation, "one")
        (_, secret, *_) = await items(client, conversation)
        await session_of(cluster, conversation).edit(Edit("e", hidden=(secret["id"],)))
        await respond(client, conversation, "two")
    assert asked(cluster)[1] == (user("zero"), user("one"), said(first), user("two"))


async def test_results_wait_for_the_response_that_makes_the_calls() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says('<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call></s>')
    cluster.pace.hold()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        fields = {"tools": [TOOL], "max_output_tokens": None}
        first = await respond(client, conversation, "Sun?", background=True, **fields)
        call_id = f"{call_ids(first['id'])}0"
        result = {"type": "function_call_output", "call_id": call_id, "output": "sunny"}
        answering = asyncio.create_task(respond(client, conversation, [result], **fields))
        await cluster.begun.acquire()
        cluster.pace.release()
        await answering
    assert asked(cluster)[1] == (Message("tool", "sunny", tool_call_id=call_id, name="weather"),)


async def test_a_conversation_can_be_deleted_while_a_response_runs_and_its_responses_stay() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client, shell(cluster=cluster) as other:
        conversation = await converse(client)
        before = await respond(client, conversation, "zero")
        cluster.pace.hold()
        making = asyncio.create_task(respond(client, conversation, "one"))
        await cluster.begun.acquire()
        await cluster.begun.acquire()
        late = asyncio.create_task(
            client.post("/v1/responses", json={"input": "x", "conversation": conversation, "instructions": "Other."})
        )
        await asyncio.sleep(0)
        assert (await other.delete(f"/v1/conversations/{conversation}")).status_code == 200
        cluster.pace.release()
        body = await making
        assert (await late).status_code == 404
        for path in f"/v1/conversations/{conversation}", f"/api/sessions/{conversation}":
            assert (await client.get(path)).status_code == 404
        assert (await client.get("/api/sessions")).json() == {"sessions": []}
        for made in before, body:
            shown = (await client.get(f"/v1/responses/{made['id']}")).json()
            assert shown | {"completed_at": None} == made | {"completed_at": None}
        for fields in {}, {"instructions": "Other."}:
            more = {"input": "y", "previous_response_id": body["id"], "max_output_tokens": 1, **fields}
            assert (await client.post("/v1/responses", json=more)).status_code == 200
        assert asked(cluster)[-1][1:] == (user("zero"), said(before), user("one"), said(body), user("y"))
        for made in before, body:
            assert (await client.delete(f"/v1/responses/{made['id']}")).status_code == 200
    assert conversation.removeprefix("conv_") not in cluster.open_sessions


async def test_a_deleted_conversation_leaves_responses_that_failed_or_were_cancelled() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        cluster.refusal = Unavailable("there is no room")
        failed = await respond(client, conversation, "failed", background=True)
        await client.get(f"/v1/responses/{failed['id']}?stream=true")
        assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
        assert (await client.get(f"/v1/responses/{failed['id']}")).json()["status"] == "failed"
        assert (await client.delete(f"/v1/responses/{failed['id']}")).status_code == 200
        assert not cluster.open_sessions
        conversation = await converse(client)
        body = await respond(client, conversation, "one")
        assert (await client.delete(f"/v1/responses/{body['id']}")).status_code == 200
        assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
        assert not cluster.open_sessions, "a deleted response keeps nothing"


async def test_items_stay_in_a_conversation_whose_only_response_is_deleted() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/responses", json={"input": "one", "max_output_tokens": 1})
        conversation = f"conv_{answer.json()['id'].removeprefix('resp_')[:32]}"
        added = {"items": [{"role": "user", "content": "x"}]}
        assert (await client.post(f"/v1/conversations/{conversation}/items", json=added)).status_code == 200
        assert (await client.delete(f"/v1/responses/{answer.json()['id']}")).status_code == 200
        assert texts(await items(client, conversation)) == ["x"]
        await respond(client, conversation, "two")
    assert asked(cluster)[1][-2:] == (user("x"), user("two"))


async def test_a_branch_is_of_what_was_said_though_the_context_begins_anew_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster()
    fork, tokens = FakeSession.fork, FakeSession.tokens

    async def begin_anew(session: FakeSession) -> None:
        anew = Edit(uuid4().hex, told=(user("something else, and longer"),), is_anew=True)
        async for _ in await session.begin(TurnRequest(uuid4().hex, (user("native"),), stop=Stop(1)), None, anew):
            pass

    async def fork_late(session: FakeSession, *arguments: Any, **named: Any) -> FakeSession:
        await begin_anew(session)
        return await fork(session, *arguments, **named)

    async def tokens_late(session: FakeSession, *arguments: Any) -> tuple[int, ...]:
        await begin_anew(session)
        return await tokens(session, *arguments)

    async with shell(cluster=cluster) as client:
        for instructions in None, "Be short.":
            monkeypatch.undo()
            first = await respond(client, None, "one")
            await respond(client, None, "two", previous_response_id=first["id"])
            monkeypatch.setattr(FakeSession, "fork", fork_late)
            monkeypatch.setattr(FakeSession, "tokens", tokens_late)
            await respond(client, None, "branch", previous_response_id=first["id"], instructions=instructions)
            said_before = asked(cluster)[-1][1:] if instructions else asked(cluster)[-1]
            assert said_before == (user("one"), said(first), user("branch"))


async def test_items_that_are_deleted_one_by_one_are_left_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    num_told = 0
    make = FakeEdits.make

    def count(edits: FakeEdits, edit: Edit) -> None:
        nonlocal num_told
        num_told += len(edit.told)
        make(edits, edit)

    async with shell(cluster=cluster) as client:
        words = [{"role": "user", "content": str(number)} for number in range(20)]
        conversation = await converse(client, items=words)
        await respond(client, conversation, "asked")
        found = await items(client, conversation)
        monkeypatch.setattr(FakeEdits, "make", count)
        for item in found[:-3]:
            assert (await _delete_item(client, conversation, item["id"])).status_code == 200
        assert num_told < 2 * len(found), "what is left is not told again with each"
        (listed,) = (await client.get("/api/sessions")).json()["sessions"]
        assert listed["title"] == "", "the first word that is left is told no longer"
        last = await respond(client, conversation, "last")
        left = [*texts(found[-3:]), "last", said(last).content]
        assert texts(await items(client, conversation)) == left
    assert [message.content for message in asked(cluster)[-1]] == left[:-1]


async def test_a_deleted_response_leaves_the_conversation_as_it_is() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        first = await respond(client, conversation, "one")
        assert (await client.delete(f"/v1/responses/{first['id']}")).status_code == 200
        assert (await client.get(f"/v1/responses/{first['id']}")).status_code == 404
        assert texts(await items(client, conversation)) == ["zero", "one", said(first).content]
        await respond(client, conversation, "two")
    assert asked(cluster) == [(user("zero"), user("one")), (user("two"),)]


async def test_a_response_to_a_response_of_a_conversation_is_not_in_it() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        first = await respond(client, conversation, "one")
        await respond(client, None, "branch", previous_response_id=first["id"])
        await respond(client, conversation, "two")
        assert "branch" not in texts(await items(client, conversation))
    assert asked(cluster) == [(user("one"),), (user("branch"),), (user("two"),)]


async def test_the_tokens_of_a_response_to_come_are_counted_with_all_that_was_said() -> None:
    async with shell() as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        await respond(client, conversation, "one", instructions="Be kind.")
        for instructions in "Be kind.", None:
            fields: Body = {"input": "two", "conversation": conversation, "instructions": instructions}
            counted = (await client.post("/v1/responses/input_tokens", json=fields)).json()["input_tokens"]
            fields |= {"max_output_tokens": 1}
            made = (await client.post("/v1/responses", json={**fields, "input": "two"})).json()
            assert counted == made["usage"]["input_tokens"]
            assert len(await items(client, conversation)) == (5 if instructions else 7)


async def test_what_was_said_in_a_conversation_can_be_compacted() -> None:
    async with shell() as client:
        conversation = await converse(client, items=[{"role": "user", "content": "zero"}])
        first = await respond(client, conversation, "one")
        answer = await client.post("/v1/responses/compact", json={"conversation": conversation, "input": "two"})
        assert answer.json()["output_text"] == f"user: zero\nuser: one\nassistant: {said(first).content}\nuser: two"


async def test_a_stream_in_a_conversation_is_read_like_any_other() -> None:
    async with shell() as client:
        conversation = await converse(client)
        body = {"input": "one", "conversation": conversation, "stream": True, "max_output_tokens": 9}
        events = events_of(await client.post("/v1/responses", json=body))
        assert events[-1]["response"]["conversation"] == {"id": conversation}
        again = events_of(await client.get(f"/v1/responses/{events[0]['response']['id']}?stream=true"))
    assert again[-1]["response"]["output"] == events[-1]["response"]["output"]


async def test_truncation_leaves_the_oldest_items_out_of_the_context_and_not_of_the_conversation() -> None:
    cluster = FakeCluster(replace(TOY, max_context_tokens=200))
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        for number in range(4):
            await respond(client, conversation, str(number) * 70, truncation="auto", instructions="Kind.")
        found = texts(await items(client, conversation))
        body = {"input": "x" * 150, "conversation": conversation, "instructions": "Kind."}
        assert (await client.post("/v1/responses", json=body)).json()["error"]["code"] == "context_length_exceeded"
    assert found[::2] == [str(number) * 70 for number in range(4)]
    context = bytes(session_of(cluster, conversation).ids)
    assert context.startswith(b"<system>Kind.")
    assert (b"0" * 70 in context, b"3" * 70 in context) == (False, True)


async def test_what_native_turns_called_and_thought_is_told_anew_as_they_said_it() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says(f"<think>Hm.</think>Let me see. {CALLED}")
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        native = TurnRequest("1", (user("one"),), stop=Stop(1000), tools=(Tool("weather"),))
        async for _ in await session_of(cluster, conversation).begin(native):
            pass
        listed = await items(client, conversation)
        result = {"type": "function_call_output", "call_id": listed[-1]["call_id"], "output": "sunny"}
        cluster.model = toy_model.says("It is sunny.")
        await respond(client, conversation, [result], instructions="Be kind.", max_output_tokens=1000)
    call = ToolCall(listed[-1]["call_id"], "weather", "{}")
    assert asked(cluster)[-1] == (
        Message("system", "Be kind."),
        user("one"),
        Message("assistant", "Let me see.", "Hm.", (call,)),
        Message("tool", "sunny", tool_call_id=call.id, name="weather"),
    )


async def test_a_call_that_no_request_could_have_is_shown_and_told_all_the_same() -> None:
    cluster = FakeCluster()
    call = ToolCall("c1", "n" * 129, "{}")
    prompt = (user("one"), Message("assistant", "", tool_calls=(call,)), Message("tool", "x", tool_call_id="c1"))
    async with shell(cluster=cluster) as client:
        conversation = await converse(client)
        async for _ in await session_of(cluster, conversation).begin(TurnRequest("1", prompt, stop=Stop(3))):
            pass
        found = await items(client, conversation)
        assert [item.get("name") for item in found] == [None, call.name, None, None]
        assert (await _delete_item(client, conversation, found[0]["id"])).status_code == 200
        await respond(client, conversation, "two")
    assert call in asked(cluster)[-1][0].tool_calls
