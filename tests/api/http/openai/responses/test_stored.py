"""Stored responses on the toy model: retrieved, gone on from, branched and deleted."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import NotFoundError

from api.errors import Unavailable
from api.http import event_stream
from api.http.app import build_app
from api.http.openai.responses.draft import Note
from api.settings import ApiSettings
from api.turns import Earlier, Message
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_event, check_item, check_response, events_of
from tests.api.http.openai.responses.test_output import FORMAT, TOOL
from tests.api.http.openai.toy_openai import KEYS, toy_openai
from tests.api.live_server import serving
from tests.api.shell import shell

Body = dict[str, Any]


async def create(client: httpx.AsyncClient, text: str = "hello", **fields: Any) -> Body:
    """The body of a response of a few tokens."""
    answer = await client.post("/v1/responses", json={"input": text, "max_output_tokens": 5, **fields})
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    check_response(body)
    return body


async def retrieve(client: httpx.AsyncClient, response_id: str) -> Body:
    """The body of a stored response."""
    answer = await client.get(f"/v1/responses/{response_id}")
    assert answer.status_code == 200, answer.text
    body: Body = answer.json()
    check_response(body)
    return body


@asynccontextmanager
async def running(client: httpx.AsyncClient, cluster: FakeCluster) -> AsyncIterator[str]:
    """The id of a response whose model stands still, until it is let go."""
    cluster.pace.hold()
    creating = asyncio.create_task(client.post("/v1/responses", json={"input": "one", "max_output_tokens": 5}))
    await cluster.begun.acquire()
    yield cluster.turns[-1].request.turn_id
    cluster.pace.release()
    await creating


def without_times(body: Body) -> Body:
    """All but when it ended, which the toy journal does not know."""
    return {name: value for name, value in body.items() if name != "completed_at"}


async def test_a_stored_response_is_found_again_on_every_gateway() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        body = await create(client, metadata={"a": "b"}, temperature=0.5)
    async with shell(cluster=cluster) as other:
        assert without_times(await retrieve(other, body["id"])) == without_times(body)


async def test_an_unstored_response_is_not_found() -> None:
    async with shell() as client:
        body = await create(client, store=False)
        assert (await client.get(f"/v1/responses/{body['id']}")).status_code == 404


async def test_its_events_are_read_again_from_any_number_on() -> None:
    async with shell() as client:
        answer = await client.post("/v1/responses", json={"input": "hi", "stream": True, "max_output_tokens": 30})
        events = events_of(answer)
        path = f"/v1/responses/{events[0]['response']['id']}?stream=true"
        again = events_of(await client.get(path))
        assert again[-1] | {"response": None} == events[-1] | {"response": None}
        choose = random.Random(3)
        for stop in choose.sample(range(len(events)), 20):
            number = events[stop]["sequence_number"]
            rest = await client.get(f"{path}&starting_after={number}")
            deltas = [event["delta"] for event in events[: stop + 1] if "delta" in event]
            for block in rest.text.removesuffix("data: [DONE]\n\n").split("\n\n")[:-1]:
                event = httpx.Response(200, text=block.split("data: ")[1]).json()
                check_event(event)
                assert event["sequence_number"] > number
                deltas.append(event.get("delta", ""))
            assert "".join(deltas) == events[-1]["response"]["output"][0]["content"][0]["text"]
        assert (await client.get(f"{path}&starting_after={1 << 45}")).text == "data: [DONE]\n\n"
        assert (await client.get(f"{path}&starting_after=x")).status_code == 400


async def test_openais_own_client_reads_the_rest_of_a_stream() -> None:
    async with toy_openai(FakeCluster(), is_strict=False) as client:
        stream = await client.responses.create(model="toy", input="hi", stream=True, max_output_tokens=20)
        events = [event async for event in stream]
        rest = await client.responses.retrieve(
            events[0].response.id,  # type: ignore[union-attr]
            stream=True,
            starting_after=events[10].sequence_number,
        )
        text = "".join(event.delta for event in events[:11] if event.type == "response.output_text.delta")
        async for event in rest:
            text += event.delta if event.type == "response.output_text.delta" else ""
    assert text == events[-1].response.output_text  # type: ignore[union-attr]


async def test_a_running_response_is_in_progress_and_can_be_followed() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client, running(client, cluster) as response_id:
        found = await retrieve(client, response_id)
        assert (found["status"], found["output"]) == ("in_progress", [])
        following = asyncio.create_task(client.get(f"/v1/responses/{response_id}?stream=true"))
        cluster.pace.release()
        assert events_of(await following)[-1]["type"] == "response.incomplete"


async def test_a_chain_is_one_session_and_only_the_new_items_are_computed() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", instructions="Be kind.")
        fields = {"previous_response_id": first["id"], "instructions": "Be kind."}
        second = await create(client, "two", **fields)
        third = await create(client, "three", **{**fields, "previous_response_id": second["id"]})
        assert without_times(await retrieve(client, second["id"])) == without_times(second)
    assert len(cluster.open_sessions) == 1
    assert [turn.request.prompt for turn in cluster.turns[1:]] == [
        (Message("user", "two"),),
        (Message("user", "three"),),
    ]
    usages = [body["usage"] for body in (first, second, third)]
    for before, usage in zip(usages, usages[1:], strict=False):
        assert usage["input_tokens_details"]["cached_tokens"] == before["total_tokens"]
    assert third["previous_response_id"] == second["id"]


async def test_two_branches_of_one_response_do_not_see_each_other() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one")
        left = await create(client, "left", previous_response_id=first["id"])
        right = await create(client, "right", previous_response_id=first["id"])
        more = await create(client, "more", previous_response_id=left["id"])
        for body in left, right, more:
            assert without_times(await retrieve(client, body["id"])) == without_times(body)
    contexts = [bytes(session.ids) for session in cluster.open_sessions.values()]
    assert len(contexts) == 2
    assert sorted((b"<user>left" in ids, b"<user>right" in ids, b"<user>more" in ids) for ids in contexts) == [
        (False, True, False),
        (True, False, True),
    ]
    assert all(ids.startswith(b"<user>one") for ids in contexts)


async def test_a_response_to_a_running_one_waits_for_it() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client, running(client, cluster) as response_id:
        following = asyncio.create_task(create(client, "two", previous_response_id=response_id))
        cluster.pace.release()
        assert (await following)["status"] == "incomplete"
        assert (await retrieve(client, response_id))["status"] == "incomplete"
    assert len(cluster.open_sessions) == 1


async def test_under_other_instructions_or_tools_the_ids_of_all_that_was_said_stay() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", instructions="Be kind.")
        said = first["output"][0]["content"][0]["text"]
        call: Body = {"previous_response_id": first["id"]}
        second = await create(client, "two", **call, instructions="Be short.")
        await create(client, "two", **call, tools=[TOOL])
        await create(client, "two", **call, instructions="Be kind.", store=False)
        await create(client, "three", previous_response_id=second["id"])
    texts = [bytes(turn._context).decode() for turn in cluster.turns]
    told = f"<user>one\n{said}<user>two\n"
    expected = [f"<system>Be short.\n{told}", told, f"<system>Be kind.\n{told}"]
    assert [text[:-5] for text in texts[1:4]] == expected
    assert texts[4][:-5] == f"{texts[1]}<user>three\n".removeprefix("<system>Be short.\n")
    assert cluster.turns[3].start.prompt_ids[: len(cluster.turns[0]._context)] == tuple(cluster.turns[0]._context)
    assert len(cluster.open_sessions) == 4
    changed = cluster.turns[1].request.prompt[1]
    assert isinstance(changed, Earlier)
    assert changed.messages == (Message("user", "one"), Message("assistant", said))


async def test_tools_are_kept_once_in_a_note_and_an_earlier_releases_note_is_read_too() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", tools=[TOOL], instructions="Be kïnd.")
        await create(client, "two", tools=[TOOL], instructions="Be kïnd.", previous_response_id=first["id"])
    text = cluster.turns[0].request.note
    assert text.count("weather") == 1
    note = Note.read(text)
    assert len(cluster.open_sessions) == 1, "it went on under an equal front"
    assert (note.tools, note.opening) == (cluster.turns[0].request.tools, (Message("system", "Be kïnd."),))
    earlier = json.dumps({"fields": note.fields, "items": note.items, "front": note.front})
    assert earlier.count("weather") == 2
    assert Note.read(earlier) == note
    assert Note.read(earlier).text() == text


async def test_another_model_is_told_what_was_said_as_messages() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", instructions="Be kind.")
        await create(client, "two", previous_response_id=first["id"], model="other", instructions="Be short.")
    said = first["output"][0]["content"][0]["text"]
    told = (Message("user", "one"), Message("assistant", said), Message("user", "two"))
    assert cluster.turns[1].request.prompt == (Message("system", "Be short."), *told)


async def test_the_result_of_a_call_goes_on_from_the_response_that_made_it() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says('<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call></s>')
    async with shell(cluster=cluster) as client:
        first = await create(client, tools=[TOOL], max_output_tokens=None)
        (call,) = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await create(client, input=[result], previous_response_id=first["id"], tools=[TOOL])
        again = [{"type": "item_reference", "id": call["id"]}, result]
        await create(client, input=again, tools=[TOOL])
    message = Message("tool", "sunny", tool_call_id=call["call_id"], name="weather")
    assert cluster.turns[1].request.prompt == (message,)
    assert cluster.turns[2].request.prompt[-1] == message
    assert cluster.turns[2].request.prompt[0].tool_calls[0].id == call["call_id"]  # type: ignore[union-attr]


async def test_input_items_are_the_responses_own_and_come_in_pages_the_newest_first() -> None:
    async with shell() as client:
        first = await create(client, "one")
        items = [{"role": "user", "content": str(number)} for number in range(25)]
        second = await create(client, input=items, previous_response_id=first["id"])
        path = f"/v1/responses/{second['id']}/input_items"
        page = (await client.get(path)).json()
        rest = (await client.get(f"{path}?after={page['last_id']}")).json()
        upwards = (await client.get(f"{path}?order=asc&limit=2")).json()
        for query in "limit=0", "limit=101", "order=x", "after=x", "limit=x":
            assert (await client.get(f"{path}?{query}")).status_code == 400
    for item in page["data"]:
        check_item(item)
    texts = [item["content"][0]["text"] for item in (*page["data"], *rest["data"])]
    assert texts == [str(number) for number in reversed(range(25))]
    assert (len(page["data"]), page["has_more"], rest["has_more"]) == (20, True, False)
    assert [item["content"][0]["text"] for item in upwards["data"]] == ["0", "1"]


async def test_a_deleted_response_is_gone_and_what_went_on_from_it_stays_whole() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, is_strict=False) as client:
        first = await client.responses.create(model="toy", input="one", max_output_tokens=3)
        second = await client.responses.create(
            model="toy", input="two", max_output_tokens=3, previous_response_id=first.id
        )
        await client.responses.delete(first.id)
        for call in client.responses.retrieve(first.id), client.responses.delete(first.id):
            with pytest.raises(NotFoundError):
                await call
        with pytest.raises(NotFoundError) as failure:
            await client.responses.create(model="toy", input="x", previous_response_id=first.id)
        assert (failure.value.code, failure.value.param) == ("previous_response_not_found", "previous_response_id")
        assert (await client.responses.retrieve(second.id)).output_text == second.output_text
        third = await client.responses.create(model="toy", input="three", previous_response_id=second.id)
        assert cluster.open_sessions
        for response in second, third:
            await client.responses.delete(response.id)
    assert not cluster.open_sessions


async def test_deleting_a_running_response_cancels_it() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client, running(client, cluster) as response_id:
        assert (await client.delete(f"/v1/responses/{response_id}")).status_code == 200
        await cluster.turns[0].ended.wait()
        assert (await client.get(f"/v1/responses/{response_id}")).status_code == 404


async def test_a_response_in_the_background_is_queued_at_once_and_made_by_itself() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", background=True)
        second = await create(client, "two", background=True, previous_response_id=first["id"])
        assert [body["status"] for body in (first, second)] == ["queued", "queued"]
        assert (await retrieve(client, first["id"]))["status"] == "in_progress"
        assert (await retrieve(client, second["id"]))["status"] == "queued"
        following = asyncio.create_task(client.get(f"/v1/responses/{second['id']}?stream=true"))
        cluster.pace.release()
        events = events_of(await following)
        assert [event["type"] for event in events[:3]] == [f"response.{kind}" for kind in QUEUED]
        assert (await retrieve(client, first["id"]))["status"] == "incomplete"
    assert len(cluster.open_sessions) == 1


QUEUED = ("created", "queued", "in_progress")


async def test_a_running_and_a_waiting_response_can_be_cancelled_and_an_ended_one_stays() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with shell(cluster=cluster) as client:
        first = await create(client, "one", background=True)
        second = await create(client, "two", background=True, previous_response_id=first["id"])
        for body in second, first:
            answer = await client.post(f"/v1/responses/{body['id']}/cancel")
            check_response(answer.json())
            assert (answer.json()["status"], (await retrieve(client, body["id"]))["status"]) == ("cancelled",) * 2
        ends = events_of(await client.get(f"/v1/responses/{first['id']}?stream=true"))[-1]
        assert (ends["type"], ends["response"]["status"]) == ("response.incomplete", "cancelled")
        cluster.pace.release()
        third = await create(client, "three", previous_response_id=first["id"])
        again = await client.post(f"/v1/responses/{third['id']}/cancel")
        assert (again.status_code, again.json()["status"]) == (200, "incomplete")


async def test_a_response_in_the_background_that_cannot_begin_has_failed() -> None:
    cluster = FakeCluster()
    cluster.refusal = Unavailable("there is no room")
    async with shell(cluster=cluster) as client:
        body = await create(client, "one", background=True)
        found = await retrieve(client, body["id"])
        assert (found["status"], found["error"]["message"]) == ("failed", "there is no room")
        events = events_of(await client.get(f"/v1/responses/{body['id']}?stream=true"))
    assert events[-1]["type"] == "response.failed"


async def test_another_owners_response_is_not_there() -> None:
    cluster = FakeCluster()
    async with toy_openai(cluster, KEYS, "key-of-ada", is_strict=False) as ada:
        first = await ada.responses.create(model="toy", input="one", max_output_tokens=3)
    named: Any = [{"type": "item_reference", "id": first.output[0].id}]
    async with toy_openai(cluster, KEYS, "key-of-bob", is_strict=False) as bob:
        for call in (
            bob.responses.retrieve(first.id),
            bob.responses.delete(first.id),
            bob.responses.input_items.list(first.id),
            bob.responses.create(model="toy", input="x", previous_response_id=first.id),
            bob.responses.create(model="toy", input=named),
        ):
            with pytest.raises(NotFoundError):
                await call
    assert len(cluster.turns) == 1


async def test_a_failed_response_is_shown_as_failed_and_can_be_gone_on_from() -> None:
    cluster = FakeCluster()

    def breaks(context: Any) -> int:
        raise Unavailable("the model is gone")

    cluster.model = breaks
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/responses", json={"input": "one", "stream": True})
        failed = events_of(answer)[-1]["response"]
        found = await retrieve(client, failed["id"])
        assert (found["status"], found["error"]["message"]) == ("failed", "the model is gone")
        events = events_of(await client.get(f"/v1/responses/{failed['id']}?stream=true"))
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        cluster.model = toy_model.letters
        await create(client, "two", previous_response_id=failed["id"])
        await create(client, "two", previous_response_id=failed["id"], instructions="Be short.")
        await create(client, "two", previous_response_id=failed["id"], store=False)
    told = (Message("user", "one"), Message("user", "two"))
    prompts = [turn.request.prompt for turn in cluster.turns[1:]]
    assert prompts == [told, (Message("system", "Be short."), *told), told]


@pytest.mark.parametrize("is_again", [False, True])
async def test_a_stream_that_has_nothing_to_say_is_kept_alive_by_comments(
    monkeypatch: pytest.MonkeyPatch, is_again: bool
) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)
    cluster = FakeCluster()
    cluster.pace.hold()
    async with serving(build_app(cluster, ApiSettings())) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        call = {"input": "one", "max_output_tokens": 2, "stream": not is_again, "background": is_again}
        first: Any = await http.post("/v1/responses", json=call) if is_again else None
        again = http.build_request("GET", f"/v1/responses/{first.json()['id']}?stream=true") if is_again else None
        answer = await http.send(again or http.build_request("POST", "/v1/responses", json=call), stream=True)
        lines = []
        async for line in answer.aiter_lines():
            lines.append(line)
            if line.startswith(":"):
                cluster.pace.release()
    assert lines[-2:] == ["data: [DONE]", ""]
    assert any(line.startswith(":") for line in lines)
