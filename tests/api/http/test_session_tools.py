"""Turns with tools over a session's socket, on a toy model that says what a test tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from api.answers.formats import CALL_FORMATS, CHANNEL_REASONING, AnswerFormat
from api.cluster import Edit, SessionOptions
from api.http.app import build_app
from api.http.turn_messages import TurnMessages
from api.settings import ApiSettings
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Finish, Frame, Message, TurnStart
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.live_server import serving
from tests.api.session_client import Sent, new_session, wire_to

ANSWER = (
    "<think>Hm.</think>Let me see. "
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>'
)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Now", "parameters": PARAMETERS}
LONG = {"id": "c1", "name": "n" * 129, "arguments": "{}"}
HELLO = [{"role": "user", "content": "Weather?"}]


@pytest.fixture
def cluster() -> FakeCluster:
    hermes = replace(TOY, answers=AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>")))
    cluster = FakeCluster(
        hermes, replace(TOY, name="other", aliases=(), answers=AnswerFormat(CALL_FORMATS["pythonic"]))
    )
    cluster.model = toy_model.says(ANSWER)
    return cluster


@pytest.fixture
async def server(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings(max_prompt_chars=1000))) as base_url:
        yield base_url


def put_together(messages: list[Sent]) -> tuple[str, str, list[dict[str, Any]]]:
    """Reasoning, text and calls."""
    calls: dict[int, dict[str, Any]] = {}
    for piece in (piece for message in messages for piece in message.get("calls", [])):
        call = calls.setdefault(piece["index"], {"arguments": ""})
        assert not call.keys() & piece.keys() & {"id", "name", "is_complete"}, "each is said once"
        call |= piece | {"arguments": call["arguments"] + piece["arguments"]}
    reasoning, text = ("".join(one.get(field, "") for one in messages) for field in ("reasoning", "text"))
    return reasoning, text, list(calls.values())


def called(index: int, city: str, turn_id: str = "t1") -> dict[str, Any]:
    arguments = f'{{"city": "{city}"}}'
    call_id = f"call_{turn_id}_{index}"
    return {"index": index, "id": call_id, "name": "weather", "arguments": arguments, "is_complete": True}


WHOLE = ("Hm.", "Let me see.", [called(0, "Rome"), called(1, "Köln")])


async def test_reasoning_text_and_calls_are_told_apart(server: str, cluster: FakeCluster) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, tools=[WEATHER])
        messages = await wire.until("finished")
    assert put_together(messages) == WHOLE
    assert len([message for message in messages if message.get("calls")]) > 10, "arguments come as they are written"
    assert sum(len(message.get("ids", ())) for message in messages) == messages[-1]["offset"]


async def test_calls_are_told_as_the_model_writes_them_to_which_the_conversation_has_moved(
    server: str, cluster: FakeCluster
) -> None:
    """On a socket that was opened before; and those of an earlier turn as the model of that turn does."""
    session = await cluster.open_session(SessionOptions(), "")
    async with wire_to(server, session.session_id) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, tools=[WEATHER])
        assert put_together(await wire.until("finished")) == WHOLE
        await session.edit(Edit("e", is_anew=True, model="other", max_context=1000))
        cluster.model = toy_model.says('[weather(city="Rome")]')
        await wire.send(type="generate", turn_id="t2", messages=HELLO, tools=[WEATHER])
        messages = await wire.until("finished")
        assert put_together(messages) == ("", "", [called(0, "Rome", "t2")])
        assert messages[0]["max_context"] == 1000
        await wire.send(type="resume", turn_id="t1", offset=0)
        assert put_together(await wire.until("finished")) == WHOLE


async def test_a_turn_is_followed_again_from_any_token(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with wire_to(server, session_id) as wire:
        await wire.send(type="generate", turn_id="t1", messages=HELLO, tools=[WEATHER])
        first = await wire.until("finished")
    pieces = {message["offset"]: message for message in first if message["type"] == "tokens"}
    assert len(pieces) > 10
    for offset in pieces:
        async with wire_to(server, session_id, max_size=None) as wire:
            await wire.send(type="resume", turn_id="t1", offset=offset)
            rest = await wire.until("finished")
        assert rest[1]["offset"] == offset
        before = [message for place, message in pieces.items() if place < offset]
        assert put_together([*before, *rest]) == WHOLE


async def test_others_are_told_of_the_calls_too(server: str, cluster: FakeCluster) -> None:
    session_id = await new_session(cluster)
    async with wire_to(server, session_id) as mine, wire_to(server, session_id) as other:
        await other.send(type="ping")
        assert (await other.receive())["type"] == "pong"
        await mine.send(type="generate", turn_id="t1", messages=HELLO, tools=[WEATHER])
        assert put_together(await other.until("finished")) == WHOLE


@pytest.mark.parametrize("fields", [{}, {"tools": [WEATHER], "tool_choice": "none"}])
async def test_without_tools_to_call_all_is_text(server: str, cluster: FakeCluster, fields: dict[str, Any]) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(type="generate", messages=HELLO, **fields)
        assert put_together(await wire.until("finished")) == ("", ANSWER, [])


HARMONY = AnswerFormat(
    CALL_FORMATS["harmony"],
    CHANNEL_REASONING,
    mark_ids=tuple((mark, 900 + number) for number, mark in enumerate(CALL_FORMATS["harmony"].marks)),
)


@pytest.mark.parametrize("offset", [0, 4])
def test_a_reply_that_is_held_in_a_channel_is_told_without_it(offset: int) -> None:
    written = ["<|channel|>", "analysis", "<|message|>", "Hm.", "<|end|>", "<|start|>", "assistant"]
    written += ["<|channel|>", "final", "<|message|>", '{"a":', " 5}"]
    ids = dict(HARMONY.mark_ids)
    pieces = tuple("" if piece in ids else piece for piece in written)
    frame = Frame("t", 1, 0, tuple(ids.get(piece, 7) for piece in written), pieces, (), Finish("eos"))
    for is_held, format, text in (
        (True, HARMONY, '{"a": 5}'),
        (False, HARMONY, "".join(pieces[offset:])),
        (True, AnswerFormat(), "".join(pieces[offset:])),
    ):
        told = [*TurnMessages(TurnStart("t", 0, (), 0, is_held_reply=is_held), format, offset, 100).of(frame)]
        assert put_together(told) == ("Hm." if is_held and format == HARMONY and not offset else "", text, [])


@pytest.mark.parametrize(
    ("prompt", "text"), [({"messages": HELLO}, ""), ({"text": "Weather?"}, "No channel."[4:])], ids=str
)
async def test_only_a_reply_to_messages_is_read_as_channels_where_it_is_held(prompt: dict[str, Any], text: str) -> None:
    """What has no channel is text in the end."""
    cluster = FakeCluster(replace(TOY, answers=HARMONY))
    cluster.model = toy_model.says("No channel.")
    async with (
        serving(build_app(cluster, ApiSettings())) as server,
        wire_to(server, await new_session(cluster)) as wire,
    ):
        await wire.send(type="generate", turn_id="t1", constraint={"regex": ".*"}, **prompt)
        await wire.until("finished")
        await wire.send(type="resume", turn_id="t1", offset=4)
        told = await wire.until("finished")
    assert "".join(message["text"] for message in told if message["type"] == "tokens") == text
    assert told[-1]["text"] == ("" if text else "No channel.")


async def test_tools_choices_calls_and_results_reach_the_engine(server: str, cluster: FakeCluster) -> None:
    call = {"id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'}
    messages = [
        *HELLO,
        {"role": "assistant", "content": "", "reasoning": "Hm.", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c1", "name": "weather"},
    ]
    choice = {"mode": "required", "names": ["weather"]}
    tools = [WEATHER, {"name": "other", "strict": True}]
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(
            type="generate", messages=messages, tools=tools, tool_choice=choice, parallel_tool_calls=False, max_tokens=1
        )
        await wire.until("finished")
    request = cluster.turns[0].request
    assert request.prompt == (
        Message("user", "Weather?"),
        Message("assistant", "", "Hm.", (ToolCall("c1", "weather", '{"city": "Rome"}'),)),
        Message("tool", "sunny", tool_call_id="c1", name="weather"),
    )
    assert request.tools[1] == Tool("other", strict=True)
    assert (request.tools[0].name, request.tools[0].description) == ("weather", "Now")
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice.of("weather"), False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tools": [{"name": "a b"}]}, "a tool's name has 1 to 128 letters"),
        ({"tools": [{"name": "a"}, {"name": "a"}]}, "two tools are called 'a'"),
        ({"tools": [{"name": "a", "parameters": {"type": "string"}}]}, "the parameters of tool 'a' must be a schema"),
        ({"tools": [{"name": "a", "kind": 1}]}, "tools.0.kind: no such field"),
        ({"tools": [{"name": f"t{number}"} for number in range(129)]}, "tools: Tuple should have at most 128 items"),
        ({"tools": [WEATHER], "tool_choice": {"names": ["b"]}}, "no tool is called 'b'"),
        ({"tool_choice": "required"}, "a tool call is required, but there are no tools"),
        ({"messages": [{"role": "tool", "content": "", "tool_call_id": "n" * 1001}]}, "a prompt may have 1000 char"),
        ({"messages": [{"role": "tool", "content": "", "name": "n" * 129}]}, "messages.0.name: String should have at"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [LONG]}]},
            "messages.0.tool_calls.0.name: String should have at most 128",
        ),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    server: str, cluster: FakeCluster, fields: dict[str, Any], sentence: str
) -> None:
    async with wire_to(server, await new_session(cluster)) as wire:
        await wire.send(**({"type": "generate", "turn_id": "t1", "messages": HELLO} | fields))
        error = await wire.receive()
    assert (error["type"], error["turn_id"]) == ("error", "t1")
    assert error["message"].startswith(sentence)
    assert not cluster.turns
