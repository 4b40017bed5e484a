"""``WS /v1/responses`` with OpenAI's own client at a real socket, and with frames that it would not send."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from openai.resources.responses.responses import AsyncResponsesConnection
from websockets.asyncio.client import ClientConnection, connect

from api.http.app import build_app
from api.http.openai.responses.socket import MAX_WAITING
from api.settings import ApiSettings
from api.turns import Finish
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_event, check_order, check_response
from tests.api.http.openai.responses.test_output import FORMAT, TOOL
from tests.api.http.openai.toy_openai import KEYS, toy_openai
from tests.api.live_server import serving
from tests.hostile.values import mutated, response

CREATE = {"type": "response.create", "input": "hello", "max_output_tokens": 5}


@asynccontextmanager
async def connected(
    cluster: FakeCluster, settings: ApiSettings | None = None, key: str = "any"
) -> AsyncIterator[AsyncResponsesConnection]:
    """A connection of OpenAI's own client."""
    async with serving(build_app(cluster, settings or ApiSettings())) as url:
        async with toy_openai(cluster, key=key, url=url) as client, client.responses.connect() as connection:
            yield connection


@asynccontextmanager
async def socket(
    cluster: FakeCluster, settings: ApiSettings | None = None, key: str = "any"
) -> AsyncIterator[ClientConnection]:
    """A connection for any frames."""
    headers = {"Authorization": f"Bearer {key}"}
    async with serving(build_app(cluster, settings or ApiSettings())) as url:
        async with connect(f"ws{url.removeprefix('http')}/v1/responses", additional_headers=headers) as connection:
            yield connection


ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


async def finished(connection: AsyncResponsesConnection) -> dict[str, Any]:
    """The response that its events, each checked, end with."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ENDS:
        events.append((await connection.recv()).to_dict())
        check_event(events[-1])
    check_order(events)
    response: dict[str, Any] = events[-1]["response"]
    check_response(response)
    return response


async def closed(connection: ClientConnection) -> int | None:
    """The code that the server closes it with."""
    await connection.wait_closed()
    return connection.close_code


async def answer_to(connection: ClientConnection, frame: str | bytes) -> dict[str, Any]:
    """The first message after this frame."""
    await connection.send(frame)
    answer: dict[str, Any] = json.loads(await connection.recv())
    return answer


def text_of(response: dict[str, Any]) -> str:
    """Of its only message."""
    text: str = response["output"][0]["content"][0]["text"]
    return text


def context(cluster: FakeCluster, number: int = -1) -> str:
    """The text of a turn's context."""
    return bytes(cluster.turns[number]._context).decode()


@pytest.mark.parametrize("store", [True, False])
async def test_a_chain_takes_new_items_only_stored_or_not(store: bool) -> None:
    cluster = FakeCluster()
    said, previous = "", None
    async with connected(cluster) as connection:
        for number in range(3):
            call: dict[str, Any] = {"store": store, "max_output_tokens": 5, "instructions": "Be kind."}
            call |= {"previous_response_id": previous} if previous else {}
            await connection.response.create(model="toy", input=f"question {number}", **call)
            response = await finished(connection)
            said += f"<user>question {number}\n{text_of(response)}"
            assert (context(cluster), response["store"]) == (f"<system>Be kind.\n{said}", store)
            previous = response["id"]
    assert len(cluster.open_sessions) == int(store)


async def test_an_unstored_response_is_gone_on_from_stored_or_under_other_instructions() -> None:
    cluster = FakeCluster()
    async with connected(cluster) as connection:
        await connection.response.create(model="toy", input="one", store=False, max_output_tokens=5, instructions="A.")
        first = await finished(connection)
        await connection.response.create(
            model="toy", input="two", store=False, max_output_tokens=5, previous_response_id=first["id"]
        )
        second = await finished(connection)
        said = f"<user>one\n{text_of(first)}<user>two\n{text_of(second)}"
        assert context(cluster) == said
        await connection.response.create(
            model="toy", input="three", max_output_tokens=5, previous_response_id=second["id"], instructions="B."
        )
        third = await finished(connection)
        assert context(cluster) == f"<system>B.\n{said}<user>three\n{text_of(third)}"
        (session,) = cluster.open_sessions.values()
        assert session.turns[0].request.turn_id == third["id"]
        await connection.response.create(model="toy", input="x", store=False, previous_response_id=second["id"])
        error = (await connection.recv()).to_dict()
        assert (error["type"], error["status"], error["error"]["code"]) == (  # type: ignore[index]
            "error",
            404,
            "previous_response_not_found",
        )
        await connection.response.create(
            model="toy", input="four", store=False, max_output_tokens=5, previous_response_id=third["id"]
        )
        await finished(connection)
        assert context(cluster).startswith(f"{said}<user>three\n{text_of(third)}<user>four\n")


async def test_the_results_of_calls_are_told_with_the_names_of_their_tools() -> None:
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says('<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call></s>')
    tools: Any = [TOOL]
    async with connected(cluster) as connection:
        await connection.response.create(model="toy", input="How is it?", store=False, tools=tools)
        first = await finished(connection)
        results: Any = [{"type": "function_call_output", "call_id": first["output"][0]["call_id"], "output": "sunny"}]
        call: dict[str, Any] = {"store": False, "tools": tools, "previous_response_id": first["id"]}
        await connection.response.create(model="toy", input=results, **call)
        await finished(connection)
    result = cluster.turns[1].request.prompt[-1]
    assert getattr(result, "name", None) == "weather"


async def test_a_response_that_generates_nothing_prepares_the_next_one() -> None:
    cluster = FakeCluster()
    async with connected(cluster) as connection:
        await connection.response.create(model="toy", input="one", instructions="A.", generate=False)
        first = await finished(connection)
        assert (first["output"], first["usage"]["output_tokens"], first["status"]) == ([], 0, "completed")
        assert (cluster.turns[0].request.distribution, cluster.warmths) == (1, ["kept"])
        call: dict[str, Any] = {"previous_response_id": first["id"], "instructions": "A.", "max_output_tokens": 5}
        await connection.response.create(model="toy", input="two", store=False, **call)
        second = await finished(connection)
    assert context(cluster) == f"<system>A.\n<user>one\n<user>two\n{text_of(second)}"
    assert not cluster.open_sessions


async def test_responses_are_made_one_after_another_and_repeat_the_name_of_their_lane() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with connected(cluster) as connection:
        for lane in "ab":
            await connection.response.create(model="toy", input=lane, stream_id=lane, max_output_tokens=2)
        await cluster.begun.acquire()
        await cluster.turns[0].has_sampled(0)
        assert len(cluster.turns) == 1
        cluster.pace.release()
        events = [(await connection.recv()).to_dict() for _ in range(4)]
        while events[-1]["type"] != "response.incomplete" or events[-1]["stream_id"] == "a":
            events.append((await connection.recv()).to_dict())
    lanes = [str(event["stream_id"]) for event in events]
    assert lanes == sorted(lanes)
    assert [turn.request.prompt[0].content for turn in cluster.turns] == ["a", "b"]  # type: ignore[union-attr]


HOSTILE: list[tuple[str | bytes, str]] = [
    ("", "invalid_value"),
    ("no JSON", "invalid_value"),
    (b"\xff\x00\xfe", "invalid_value"),
    ("[]", "invalid_value"),
    ("7", "invalid_value"),
    ("[" * 100_000, "invalid_value"),
    ('{"a":' * 100_000, "invalid_value"),
    ('{"type": 7}', "invalid_value"),
    ('{"type": "response.steer", "input": "x"}', "unknown_event"),
    ('{"type": "response.create", "input": 7}', "invalid_value"),
    ('{"type": "response.create", "input": "\\ud800", "model": "\\ud800"}', "invalid_value"),
    ('{"type": "response.create", "input": "x", "stream_id": 7}', "invalid_value"),
    ('{"type": "response.create", "input": "x", "background": true}', "unsupported"),
    ('{"type": "response.create", "input": "x", "max_output_tokens": 1e400}', "invalid_value"),
    ('{"type": "response.create", "input": "x", "temperature": NaN}', "invalid_value"),
    ('{"type": "response.create", "input": "x", "model": "gpt-9"}', "model_not_found"),
    ('{"type": "response.create", "input": "x", "previous_response_id": "resp_x"}', "previous_response_not_found"),
]


async def test_frames_that_cannot_be_taken_are_answered_and_the_connection_stays() -> None:
    cluster = FakeCluster()
    async with socket(cluster) as connection:
        for frame, code in HOSTILE:
            answer = await answer_to(connection, frame)
            assert answer.keys() == {"type", "status", "error"}, frame
            assert (answer["type"], answer["error"]["code"]) == ("error", code), (frame, answer)
            assert 400 <= answer["status"] < 500
        named = json.dumps({**CREATE, "n": 2, "stream_id": "lane"})
        assert (await answer_to(connection, named))["stream_id"] == "lane"
        assert (await answer_to(connection, json.dumps(CREATE).encode()))["type"] == "response.created"
    assert len(cluster.turns) == 1


async def test_no_random_message_is_a_fault_of_the_server_or_ends_the_connection() -> None:
    draw = random.Random(9)
    kinds = set()
    async with socket(FakeCluster(max_sessions=10_000)) as connection:
        for _ in range(200):
            body = {"type": "response.create", **response(draw), "store": draw.random() < 0.5}
            sent = mutated(draw, body) if draw.random() < 0.5 else body
            answer = await answer_to(connection, json.dumps(sent))
            while answer["type"] not in ENDS:
                answer = json.loads(await connection.recv())
            kinds.add(answer["type"])
            assert answer.get("status", 400) < 500, (sent, answer)
            assert answer["type"] != "response.failed", (sent, answer)
    assert {"error", "response.completed", "response.incomplete"} <= kinds


async def test_leaving_ends_a_response_that_is_not_stored_and_no_other() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    for store in False, True:
        async with socket(cluster) as connection:
            await connection.send(json.dumps({**CREATE, "store": store}))
            await cluster.begun.acquire()
            assert json.loads(await connection.recv())["type"] == "response.created"
    await cluster.turns[0].ended.wait()
    assert cluster.turns[0].finish == Finish("cancelled")
    cluster.pace.release()
    await cluster.turns[1].ended.wait()
    assert cluster.turns[1].num_output == 5


async def test_more_messages_than_may_wait_are_refused() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with socket(cluster) as connection:
        await connection.send(json.dumps(CREATE))
        await cluster.begun.acquire()
        for number in range(MAX_WAITING + 1):
            await connection.send(json.dumps({**CREATE, "stream_id": str(number)}))
        answers = [json.loads(await connection.recv())]
        while answers[-1]["type"] != "error":
            answers.append(json.loads(await connection.recv()))
        error = answers[-1]
        assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
        assert error["stream_id"] == str(MAX_WAITING)
        cluster.pace.release()
        while answers[-1].get("stream_id") != str(MAX_WAITING - 1) or answers[-1]["type"] != "response.incomplete":
            answers.append(json.loads(await connection.recv()))
    assert len(cluster.turns) == MAX_WAITING + 1


async def test_messages_of_more_bytes_than_one_may_have_are_not_kept_waiting() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    async with socket(cluster, ApiSettings(max_body_bytes=4000)) as connection:
        await connection.send(json.dumps(CREATE))
        await cluster.begun.acquire()
        for number in range(3):
            await connection.send(json.dumps({**CREATE, "input": "é" * 250, "stream_id": str(number)}))
        answers = [json.loads(await connection.recv())]
        while answers[-1]["type"] != "error":
            answers.append(json.loads(await connection.recv()))
        assert (answers[-1]["status"], answers[-1]["stream_id"]) == (429, "2")
        cluster.pace.release()
        while answers[-1].get("stream_id") != "1" or answers[-1]["type"] != "response.incomplete":
            answers.append(json.loads(await connection.recv()))
    assert len(cluster.turns) == 3


async def test_without_a_key_it_is_told_and_closed() -> None:
    async with socket(FakeCluster(), KEYS, "no key") as connection:
        error = json.loads(await connection.recv())
        assert (error["status"], error["error"]["code"]) == (401, "invalid_api_key")
        assert await closed(connection) == 1008


async def test_a_message_that_is_too_large_closes_it() -> None:
    async with socket(FakeCluster(), ApiSettings(max_body_bytes=2000)) as connection:
        error = await answer_to(connection, json.dumps({**CREATE, "input": "x" * 3000}))
        assert (error["status"], error["error"]["code"]) == (413, "too_large")
        assert await closed(connection) == 1009


async def test_one_owner_has_its_share_of_connections_and_no_response_of_another() -> None:
    cluster, settings = FakeCluster(), KEYS.model_copy(update={"max_sockets": 4})
    async with connected(cluster, settings, "key-of-ada") as ada:
        await ada.response.create(model="toy", input="one", max_output_tokens=2)
        first = await finished(ada)
        async with serving(build_app(cluster, settings)) as url:
            path = f"ws{url.removeprefix('http')}/v1/responses"
            async with connect(path, additional_headers={"Authorization": "Bearer key-of-bob"}) as bob:
                asked = json.dumps({**CREATE, "previous_response_id": first["id"]})
                answer = await answer_to(bob, asked)
                assert answer["error"]["code"] == "previous_response_not_found"
                async with connect(path, additional_headers={"Authorization": "Bearer key-of-bob"}) as more:
                    assert await closed(more) == 1013
                async with connect(path, additional_headers={"Authorization": "Bearer key-of-ada"}) as other:
                    assert (await answer_to(other, json.dumps(CREATE)))["type"] == "response.created"


async def test_an_idle_connection_costs_no_session_and_no_turn() -> None:
    cluster = FakeCluster()
    async with socket(cluster) as connection, socket(cluster):
        assert (await answer_to(connection, "{}"))["type"] == "error"
        assert (cluster.turns, cluster.open_sessions) == ([], {})
