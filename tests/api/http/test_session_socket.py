from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import TooBusy
from api.http.app import build_app
from api.http.session_socket import MAX_QUEUED_TURNS
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.session_client import new_session, text_of, wire_to
from tests.api.toy_answers import chat_ids, continuation

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
PROMPT = chat_ids(("user", "hello"))


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def server(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings(max_prompt_chars=1000))) as base_url:
        yield base_url


async def test_a_turn_is_started_streamed_and_finished(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, max_tokens=20)
        started, *middle, finished = await wire.until("finished")
    assert started == {
        "type": "started",
        "turn_id": "t1",
        "base_length": 0,
        "prompt_tokens": len(PROMPT),
        "resident_tokens": 0,
        "max_context": 4096,
    }
    assert {message["turn_id"] for message in middle} == {"t1"}
    assert text_of([*middle, finished]) == continuation(PROMPT, 20)
    assert (finished["reason"], finished["stop"], finished["offset"]) == ("length", None, 20)
    assert finished["usage"] == {
        "prompt_tokens": len(PROMPT),
        "output_tokens": 20,
        "context_tokens": len(PROMPT) + 20,
        "resident_tokens": 0,
    }


async def test_the_next_turn_continues_the_context(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", messages=HELLO, max_tokens=5)
        first = text_of(await wire.until("finished"))
        await wire.send(type="generate", messages=[{"role": "user", "content": "and then?"}], max_tokens=7)
        started, *rest = await wire.until("finished")
    context = [*PROMPT, *first.encode(), *chat_ids(("user", "and then?"))]
    assert started["base_length"] == started["resident_tokens"] == len(PROMPT) + 5
    assert text_of(rest) == continuation(context, 7)


@pytest.mark.parametrize("prompt", [{"text": "abc"}, {"tokens": [97, 98, 99]}])
async def test_text_and_tokens_are_prompts_too(server: str, cluster: FakeCluster, prompt: dict[str, Any]) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", max_tokens=5, **prompt)
        assert text_of(await wire.until("finished")) == continuation([97, 98, 99], 5)


async def test_a_stop_text_ends_the_turn_and_is_named(server: str, cluster: FakeCluster) -> None:
    expected = continuation(PROMPT, 50)
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", messages=HELLO, max_tokens=50, stop=[expected[10:13]])
        *_, finished = messages = await wire.until("finished")
    assert (finished["reason"], finished["stop"]) == ("stop", expected[10:13])
    assert text_of(messages) == expected[: expected.index(expected[10:13]) + 3]


async def test_several_turns_run_in_the_order_they_were_sent(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        for name in ("a", "b", "c"):
            await wire.send(type="generate", turn_id=name, text=name, max_tokens=4)
        endings = [(await wire.until("finished"))[-1]["turn_id"] for _ in range(3)]
    assert endings == ["a", "b", "c"]


async def test_cancel_ends_the_turn_and_keeps_the_session(server: str, cluster: FakeCluster) -> None:
    cluster.pace.hold()
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, max_tokens=100)
        cluster.pace.allow(3)
        while len(text_of(await wire.until("tokens"))) and cluster.turns[0].num_output < 3:
            pass
        await wire.send(type="cancel", turn_id="t1")
        finished = (await wire.until("finished"))[-1]
        assert (finished["reason"], finished["usage"]["output_tokens"]) == ("cancelled", 3)
        cluster.pace.release()
        await wire.send(type="generate", text="x", max_tokens=2)
        started, *rest = await wire.until("finished")
    assert started["base_length"] == len(PROMPT) + 3
    context = [*PROMPT, *continuation(PROMPT, 3).encode(), *b"x"]
    assert text_of(rest) == continuation(context, 2)


async def test_a_queued_turn_is_cancelled_without_having_begun(server: str, cluster: FakeCluster) -> None:
    cluster.pace.hold()
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="running", text="a")
        await wire.until("started")
        await wire.send(type="generate", turn_id="queued", text="b")
        await wire.send(type="cancel", turn_id="queued")
        assert await wire.receive() == {
            "type": "finished",
            "turn_id": "queued",
            "offset": 0,
            "reason": "cancelled",
            "stop": None,
            "text": "",
        }
        await wire.send(type="cancel")
        assert (await wire.until("finished"))[-1]["turn_id"] == "running"
    assert [turn.request.turn_id for turn in cluster.turns] == ["running"]


async def test_leaving_does_not_end_the_turn_and_coming_back_resumes_it(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    cluster.pace.hold()
    async with wire_to(server, session_id) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, max_tokens=30)
        cluster.pace.allow(8)
        seen = text_of(await wire.until("tokens"))
    cluster.pace.release()
    await cluster.turns[0].ended.wait()
    async with wire_to(server, session_id) as wire:
        await wire.send(type="resume", turn_id="t1", offset=len(seen))
        started, *rest = await wire.until("finished")
    assert started["type"] == "started"
    assert seen + text_of(rest) == continuation(PROMPT, 30)


async def test_the_same_turn_asked_for_twice_runs_once(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    texts = []
    for _ in range(2):
        async with wire_to(server, session_id) as wire:
            await wire.send(type="generate", turn_id="t1", messages=HELLO, max_tokens=9)
            texts.append(text_of(await wire.until("finished")))
    assert texts == [continuation(PROMPT, 9)] * 2
    assert len(cluster.turns) == 1


async def test_two_sockets_follow_one_turn(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    cluster.pace.hold()
    async with wire_to(server, session_id) as first, wire_to(server, session_id) as second:
        await first.send(type="generate", turn_id="t1", messages=HELLO, max_tokens=12)
        await first.until("started")
        await second.send(type="resume", turn_id="t1", offset=0)
        await second.until("started")
        cluster.pace.release()
        texts = [text_of(await wire.until("finished")) for wire in (first, second)]
    assert texts == [continuation(PROMPT, 12)] * 2


BAD_MESSAGES = [
    ("{", "JSON"),
    ("[]", "object"),
    ('{"type": "dance"}', "type"),
    ('{"type": "generate", "messages": []}', "messages"),
    ('{"type": "generate", "messages": [{"role": "king", "content": "x"}]}', "messages.0.role"),
    ('{"type": "generate", "text": "x", "tokens": [1]}', "one of"),
    ('{"type": "generate", "text": "x", "max_tokens": 0}', "max_tokens"),
    ('{"type": "generate", "text": "x", "max_tokens": "7"}', "max_tokens"),
    ('{"type": "generate", "text": "x", "sampling": {"temperature": "hot"}}', "sampling.temperature"),
    ('{"type": "generate", "text": "x", "sampling": {"temperature": -1}}', "temperature"),
    ('{"type": "generate", "text": "x", "sampling": {"temperature": NaN}}', "temperature"),
    ('{"type": "generate", "text": "x", "sampling": {"top_kk": 1}}', "sampling.top_kk"),
    ('{"type": "generate", "text": "x", "stop": [""]}', "stop.0"),
    ('{"type": "generate", "tokens": [-1]}', "tokens.0"),
    ('{"type": "resume", "turn_id": "t1", "offset": -1}', "offset"),
    ('{"type": "resume"}', "turn_id"),
    ('{"type": "typing", "more": 1}', "more"),
]


async def test_a_bad_message_is_answered_and_the_socket_stays(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        for message, named in BAD_MESSAGES:
            await wire.socket.send(message)
            error = await wire.receive()
            assert (error["type"], error["code"], error["retryable"]) == ("error", "invalid_request", False), message
            assert named in error["message"], message
    assert not cluster.turns


async def test_a_refused_turn_is_named_in_its_error(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="t1", text="x", max_tokens=-1)
        assert (await wire.receive())["turn_id"] == "t1"
        for long in {"text": "x" * 1001}, {"tokens": [1] * 1001}, {"messages": [{"role": "user", "content": ""}] * 126}:
            await wire.send(type="generate", turn_id="t2", **long)
            error = await wire.receive()
            assert (error["turn_id"], error["code"]) == ("t2", "too_large")
        cluster.refusal = TooBusy("the queue is full")
        await wire.send(type="generate", turn_id="t3", text="x")
        error = await wire.receive()
    assert error["turn_id"] == "t3"
    assert (error["code"], error["message"], error["retryable"]) == ("too_busy", "the queue is full", True)
    assert error["retry_after_s"] > 0


async def test_a_socket_queues_so_many_turns_and_no_more(server: str, cluster: FakeCluster) -> None:
    cluster.pace.hold()
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="running", text="a", max_tokens=1)
        await wire.until("started")
        for number in range(MAX_QUEUED_TURNS + 1):
            await wire.send(type="generate", turn_id=f"q{number}", text="a", max_tokens=1)
        error = await wire.receive()
        assert (error["turn_id"], error["code"]) == (f"q{MAX_QUEUED_TURNS}", "too_busy")
        cluster.pace.release()
        for _ in range(MAX_QUEUED_TURNS + 1):
            await wire.until("finished")


async def test_resuming_an_unknown_turn_is_an_error_and_the_socket_stays(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="resume", turn_id="nope", offset=0)
        error = await wire.receive()
        assert (error["turn_id"], error["code"]) == ("nope", "turn_not_found")
        await wire.send(type="ping")
        assert (await wire.receive())["type"] == "pong"


async def test_typing_reaches_the_session(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with wire_to(server, session_id) as wire:
        await wire.send(type="typing")
        await wire.send(type="ping")
        await wire.until("pong")
    assert cluster.open_sessions[session_id].num_typing == 1


async def test_binary_frames_are_read_as_well(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.socket.send(b'{"type": "ping"}')
        assert (await wire.receive())["type"] == "pong"


async def test_an_unknown_session_is_said_and_closed_4404(server: str) -> None:
    async with wire_to(server, "0" * 32) as wire:
        assert (await wire.receive())["code"] == "session_not_found"
        assert await wire.close_code() == 4404


async def test_a_session_that_goes_away_closes_its_socket_4404(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with wire_to(server, session_id) as wire:
        await wire.send(type="ping")
        await wire.until("pong")
        del cluster.open_sessions[session_id]
        await wire.send(type="generate", text="x")
        assert await wire.close_code() == 4404


async def test_a_server_that_stops_closes_1012(cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with serving(build_app(cluster, ApiSettings())) as base_url:
        leaving = wire_to(base_url, session_id)
        wire = await leaving.__aenter__()
        await wire.send(type="ping")
        await wire.until("pong")
    assert await wire.close_code() == 1012
    await leaving.__aexit__(None, None, None)


async def test_a_socket_needs_the_key_of_its_sessions_owner(cluster: FakeCluster) -> None:
    keys = ApiSettings(api_keys=(ApiKey.of("key-of-ada", "ada"), ApiKey.of("key-of-bob", "bob")))
    session_id = await new_session(cluster, owner="ada")
    async with serving(build_app(cluster, keys)) as base_url:
        async with wire_to(base_url, session_id) as wire:
            assert (await wire.receive())["code"] == "unauthorized"
            assert await wire.close_code() == 1008
        async with wire_to(base_url, session_id, additional_headers={"Authorization": "Bearer key-of-bob"}) as wire:
            assert await wire.close_code() == 4404
        async with wire_to(base_url, session_id, subprotocols=["greenroom", "bearer.key-of-ada"]) as wire:
            assert wire.socket.subprotocol == "greenroom"
            await wire.send(type="generate", text="x", max_tokens=3)
            assert text_of(await wire.until("finished")) == continuation(list(b"x"), 3)


async def test_nothing_is_left_behind_when_a_client_leaves(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    cluster.pace.hold()
    before = asyncio.all_tasks()
    async with wire_to(server, session_id) as wire:
        await wire.send(type="generate", turn_id="t1", text="x")
        await wire.send(type="resume", turn_id="t1", offset=0)
        await wire.until("started")
    cluster.turns[0].cancel()
    async with asyncio.timeout(30):
        while left := [task for task in asyncio.all_tasks() - before if not task.done()]:
            await asyncio.wait(left, timeout=0.05)


@pytest.mark.parametrize(
    ("constraint", "meant"),
    [
        ({"json_schema": {"type": "object"}}, JsonSchema('{"type": "object"}')),
        ({"regex": "a+"}, Regex("a+")),
        ({"choice": ["yes", "no"]}, Choice(("yes", "no"))),
        ({"grammar": 'root ::= "a"'}, Grammar('root ::= "a"')),
    ],
)
async def test_a_turn_may_be_held_to_a_constraint_and_to_some_tokens(
    server: str, cluster: FakeCluster, constraint: dict[str, Any], meant: Constraint
) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", text="a", max_tokens=2, constraint=constraint, allowed_tokens=[5, 6])
        await wire.until("finished")
    [turn] = cluster.turns
    assert (turn.request.constraint, turn.request.allowed_tokens) == (meant, (5, 6))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"constraint": {}}, "constraint: give one of json_schema, regex, choice and grammar"),
        ({"constraint": {"regex": "a", "choice": ["b"]}}, "constraint: give one of"),
        ({"constraint": {"choice": []}}, "a choice needs options"),
        ({"constraint": {"regex": "a" * 65_537}}, "a regular expression can have 65536 characters"),
        ({"constraint": {"xml": "<a/>"}}, "constraint.xml: no such field"),
        ({"allowed_tokens": []}, "allowed_tokens"),
        ({"distribution": 4097}, "distribution"),
        ({"stop": ["x" * 1025]}, "stop"),
    ],
)
async def test_what_cannot_be_held_to_is_refused_with_its_reason(
    server: str, cluster: FakeCluster, fields: dict[str, Any], sentence: str
) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="t", text="a", **fields)
        answer = await wire.receive()
    assert (answer["type"], answer["code"], answer["turn_id"]) == ("error", "invalid_request", "t")
    assert sentence in answer["message"]
