"""Conversations and their items, with OpenAI's own client, which checks what comes back by its types."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from openai import APIStatusError as StatusError
from openai import BadRequestError, NotFoundError

from api.settings import ApiSettings
from api.turns import Message, messages_in
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.responses.oracle import check_item
from tests.api.http.openai.toy_openai import KEYS, toy_openai
from tests.api.shell import shell

HELLO: Any = {"type": "message", "role": "user", "content": "Hello!"}
CALL: Any = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
RESULT: Any = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
THOUGHT: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}
ANSWER: Any = {"role": "assistant", "content": [{"type": "output_text", "text": "It is sunny.", "annotations": []}]}


def messages(count: int) -> Any:
    """``count`` messages, numbered from 0."""
    return [{"role": "user", "content": str(number)} for number in range(count)]


async def test_a_conversation_is_made_shown_changed_and_deleted() -> None:
    async with toy_openai(FakeCluster()) as client:
        made = await client.conversations.create(metadata={"topic": "demo"}, items=[HELLO])
        assert made.metadata == {"topic": "demo"}
        assert await client.conversations.retrieve(made.id) == made
        changed = await client.conversations.update(made.id, metadata={"a": "b"})
        assert (changed.metadata, changed.id, changed.created_at) == ({"a": "b"}, made.id, made.created_at)
        assert await client.conversations.retrieve(made.id) == changed
        deleted = await client.conversations.delete(made.id)
        assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "conversation.deleted")
        for call in (
            client.conversations.retrieve(made.id),
            client.conversations.update(made.id, metadata={}),
            client.conversations.delete(made.id),
            client.conversations.items.create(made.id, items=[HELLO]),
            client.responses.create(model="toy", input="x", conversation=made.id),
        ):
            with pytest.raises(NotFoundError) as failure:
                await call
            assert failure.value.code == "conversation_not_found"


async def test_every_kind_of_item_is_listed_shown_and_deleted() -> None:
    async with toy_openai(FakeCluster()) as client:
        conversation = await client.conversations.create()
        assert conversation.metadata == {}
        sent = [HELLO, {"role": "developer", "content": "Be kind."}, THOUGHT, CALL, RESULT, ANSWER]
        added = await client.conversations.items.create(conversation.id, items=sent)
        assert [item.type for item in added.data] == [item.get("type", "message") for item in sent]
        assert (added.first_id, added.last_id, added.has_more) == (added.data[0].id, added.data[-1].id, False)
        for item in added.data:
            check_item(json.loads(item.model_dump_json(exclude_unset=True)))
            assert await client.conversations.items.retrieve(str(item.id), conversation_id=conversation.id) == item
        assert [item async for item in client.conversations.items.list(conversation.id, order="asc")] == added.data
        dropped = str(added.data[1].id)
        left = await client.conversations.items.delete(dropped, conversation_id=conversation.id)
        assert left == conversation
        shown = [item.id async for item in client.conversations.items.list(conversation.id, order="asc")]
        assert shown == [item.id for item in added.data if item.id != dropped]
        for call in (
            client.conversations.items.retrieve(dropped, conversation_id=conversation.id),
            client.conversations.items.delete(dropped, conversation_id=conversation.id),
        ):
            with pytest.raises(NotFoundError) as failure:
                await call
            assert failure.value.code == "item_not_found"


async def test_a_tool_tells_something_without_a_call_by_its_name() -> None:
    told: Any = {"type": "function_call_output", "name": "mail", "namespace": "apps", "output": "You have mail."}
    cluster = FakeCluster()
    async with toy_openai(cluster) as client:
        conversation = await client.conversations.create(items=[HELLO])
        (added,) = (await client.conversations.items.create(conversation.id, items=[told])).data
        assert (added.call_id, added.name, added.output) == (None, "mail", "You have mail.")  # type: ignore[union-attr]
        response = await client.responses.create(model="toy", input=[told], conversation=conversation.id)
        listed = await client.responses.input_items.list(response.id)
        assert listed.data[0].to_dict().items() >= {"type": "function_call_output", "name": "mail"}.items()
        nameless: Any = [{**told, "name": None}]
        with pytest.raises(BadRequestError) as failure:
            await client.responses.create(model="toy", input=nameless)
        assert failure.value.param == "input"
    mail = Message("tool", "You have mail.", name="mail")
    assert messages_in(cluster.turns[0].request.prompt) == (Message("user", "Hello!"), mail, mail)


async def test_items_come_in_pages_in_both_orders_and_go_on_after_a_deleted_one() -> None:
    async with toy_openai(FakeCluster(), is_strict=False) as client:
        conversation = await client.conversations.create(items=messages(50))
        await client.conversations.items.create(conversation.id, items=messages(50))
        expected = [*range(50), *range(50)]
        for order in "asc", "desc":
            texts = []
            async for item in client.conversations.items.list(conversation.id, order=cast(Any, order), limit=7):
                texts.append(int(item.to_dict()["content"][0]["text"]))  # type: ignore[index]
            assert texts == (expected if order == "asc" else expected[::-1])
        page = await client.conversations.items.list(conversation.id)
        assert (len(page.data), page.has_more) == (20, True)
        await client.conversations.items.delete(str(page.last_id), conversation_id=conversation.id)
        after = await client.conversations.items.list(conversation.id, after=str(page.last_id), limit=100)
        assert (len(after.data), after.has_more) == (80, False)
        included: Any = ["message.output_text.logprobs"]
        assert (await client.conversations.items.list(conversation.id, include=included)).data == page.data[:19] + [
            after.data[0]
        ]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")]
    + [(f"after=msg_{'0' * 48}_i0", "after"), ("include=all", "include"), ("include[]=all", "include")],
)
async def test_what_no_page_can_be_is_refused_by_name(query: str, param: str) -> None:
    async with shell() as client:
        made = (await client.post("/v1/conversations", json={"items": [HELLO]})).json()
        answer = await client.get(f"/v1/conversations/{made['id']}/items?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"metadata": {"a" * 65: ""}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"items": [{"type": "dream"}]}, "items"),
        ({"items": [{"role": "owner", "content": "x"}]}, "items"),
        ({"items": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "items"),
        ({"items": "x"}, "items"),
        ([], None),
    ],
)
async def test_what_cannot_be_is_refused_by_name_and_nothing_is_made(body: Any, param: str | None) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/conversations", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not cluster.open_sessions


async def test_the_largest_metadata_fit() -> None:
    metadata = {f"{number:064}": "é" * 512 for number in range(16)}
    async with toy_openai(FakeCluster()) as client:
        made = await client.conversations.create(metadata=metadata)
        assert (await client.conversations.retrieve(made.id)).metadata == metadata
        with pytest.raises(BadRequestError):
            await client.conversations.update(made.id, metadata={**metadata, "one": "more"})
        assert (await client.conversations.update(made.id, metadata={})).metadata == {}


async def test_more_text_than_a_response_may_read_is_not_added() -> None:
    cluster = FakeCluster()
    settings = ApiSettings(max_prompt_chars=1000)
    async with toy_openai(cluster, settings) as client:
        conversation = await client.conversations.create(items=[{"role": "user", "content": "x" * 600}])
        large: Any = {"role": "user", "content": "y" * 600}
        for call in (
            client.conversations.items.create(conversation.id, items=[large]),
            client.conversations.create(items=[large, large]),
        ):
            with pytest.raises(StatusError) as failure:
                await call
            assert failure.value.status_code == 413
        await client.responses.create(model="toy", conversation=conversation.id, max_output_tokens=1)
        await client.conversations.items.create(conversation.id, items=[large])
    assert len(cluster.open_sessions) == 1


LONG = "x" * 1000
UNCOUNTED: list[list[Any]] = [
    [{**RESULT, "call_id": LONG, "output": ""}],
    [{**CALL, "call_id": LONG}],
    [{**CALL, "name": "x" * 100}] * 10,
    [{"role": "user", "content": ""}] * 126,
    [{"role": "user", "content": []}] * 126,
    [{"type": "reasoning", "summary": []}] * 126,
    [{"role": "user", "content": [{"type": "input_text", "text": ""}] * 126}],
    [{"type": "reasoning", "summary": [{"type": "summary_text", "text": ""}] * 126}],
]


@pytest.mark.parametrize("items", UNCOUNTED)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/conversations", "/v1/conversations/{id}/items"])
async def test_names_and_ids_count_and_so_does_each_item_and_part(items: list[Any], path: str) -> None:
    async with shell(settings=ApiSettings(max_prompt_chars=1000)) as client:
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        answer = await client.post(path.format(id=conversation), json={"items": items, "input": items})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_name_that_no_tool_can_have_is_refused() -> None:
    async with shell() as client:
        answer = await client.post("/v1/conversations", json={"items": [{**CALL, "name": "x" * 129}]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "items")


async def test_only_so_many_items_wait_for_a_response_however_short_they_are() -> None:
    async with shell(settings=ApiSettings(max_prompt_chars=1000)) as client:
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        path, number = f"/v1/conversations/{conversation}/items", 0
        short = {"items": [{"role": "user", "content": ""}] * 10}
        while (answer := await client.post(path, json=short)).status_code == 200:
            number += 10
        assert (answer.status_code, number) == (413, 60)
        await client.post("/v1/responses", json={"conversation": conversation, "max_output_tokens": 1})
        assert (await client.post(path, json=short)).status_code == 200


async def test_an_item_that_is_only_named_is_copied_with_an_id_of_its_own() -> None:
    async with toy_openai(FakeCluster()) as client:
        source = await client.conversations.create(items=[HELLO])
        (item,) = (await client.conversations.items.list(source.id)).data
        named: Any = {"type": "item_reference", "id": item.id}
        target = await client.conversations.create(items=[named])
        (copied,) = (await client.conversations.items.list(target.id)).data
        assert (copied.content, copied.id == item.id) == (item.content, False)  # type: ignore[union-attr]
        await client.conversations.items.delete(str(item.id), conversation_id=source.id)
        for call in (
            client.conversations.items.create(target.id, items=[named]),
            client.responses.create(model="toy", input=[named]),
        ):
            with pytest.raises(NotFoundError):
                await call
        assert (await client.conversations.items.list(target.id)).data == [copied]


async def test_another_owners_conversation_is_not_there() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, KEYS, "key-of-ada") as ada:
        theirs = await ada.conversations.create(items=[HELLO])
        (item,) = (await ada.conversations.items.list(theirs.id)).data
    named: Any = [{"type": "item_reference", "id": item.id}]
    async with toy_openai(cluster, KEYS, "key-of-bob") as bob:
        mine = await bob.conversations.create()
        for call in (
            bob.conversations.retrieve(theirs.id),
            bob.conversations.update(theirs.id, metadata={}),
            bob.conversations.delete(theirs.id),
            bob.conversations.items.create(theirs.id, items=[HELLO]),
            bob.conversations.items.retrieve(str(item.id), conversation_id=theirs.id),
            bob.conversations.items.retrieve(str(item.id), conversation_id=mine.id),
            bob.conversations.items.delete(str(item.id), conversation_id=theirs.id),
            bob.conversations.items.create(mine.id, items=named),
            bob.responses.create(model="toy", input="x", conversation=theirs.id),
        ):
            with pytest.raises(NotFoundError):
                await call
        with pytest.raises(NotFoundError):
            await bob.conversations.items.list(theirs.id)
    async with toy_openai(cluster, KEYS, "key-of-ada") as ada:
        assert (await ada.conversations.items.list(theirs.id)).data == [item]


@pytest.mark.parametrize("name", ["x", "conv_", "conv_x", f"conv_{'0' * 32}", "resp_" + "0" * 48, "a" * 5000])
async def test_a_name_that_is_none_is_not_found(name: str) -> None:
    async with shell() as client:
        for method, path, body in (
            ("GET", "", None),
            ("POST", "", {"metadata": {}}),
            ("DELETE", "", None),
            ("GET", "/items", None),
            ("POST", "/items", {"items": []}),
            ("GET", "/items/x", None),
            ("DELETE", "/items/x", None),
        ):
            answer = await client.request(method, f"/v1/conversations/{name}{path}", json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "conversation_not_found")
