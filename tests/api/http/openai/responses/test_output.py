"""Reasoning, text and calls as items and events, whose numbers do not depend on how the tokens come."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.answers.parser import AnswerParser
from api.http.openai.responses.item_events import Event
from api.http.openai.responses.output import Output
from api.tools import ToolCall
from api.turns import Finish, Frame, Message
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.openai.responses.oracle import check_response, events_of
from tests.api.shell import shell

FORMAT = AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>"))
ANSWER = (
    "<think>Hm, the weather.</think>Let me see: ü.\n"
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call></s>'
)
TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


def reasoning_cluster() -> FakeCluster:
    """A cluster whose model reasons and calls a tool twice."""
    cluster = FakeCluster(replace(TOY, answers=FORMAT))
    cluster.model = toy_model.says(ANSWER)
    return cluster


async def test_reasoning_text_and_calls_are_items_of_their_own() -> None:
    async with shell(cluster=reasoning_cluster()) as client:
        body = (await client.post("/v1/responses", json={"input": "hello", "tools": [TOOL]})).json()
    check_response(body)
    reasoning, message, *calls = body["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm, the weather."}]
    assert message["content"][0]["text"] == "Let me see: ü."
    assert [(call["name"], call["arguments"]) for call in calls] == [
        ("weather", '{"city": "Rome"}'),
        ("weather", '{"city": "Oslo"}'),
    ]
    assert len({item["id"] for item in body["output"]}) == 4
    assert calls[0]["call_id"] != calls[1]["call_id"]
    assert 0 < body["usage"]["output_tokens_details"]["reasoning_tokens"] < body["usage"]["output_tokens"]


async def test_their_stream_adds_fills_and_ends_each() -> None:
    async with shell(cluster=reasoning_cluster()) as client:
        answer = await client.post("/v1/responses", json={"input": "hello", "tools": [TOOL], "stream": True})
    kinds = [event["type"] for event in events_of(answer)]
    for kind, number in ("reasoning.done", 1), ("output_text.done", 1), ("function_call_arguments.done", 2):
        assert kinds.count(f"response.{kind}") == number


async def test_calls_and_their_results_that_are_sent_again_are_messages_of_the_template() -> None:
    cluster = reasoning_cluster()
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "hello"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Let me see."},
        call,
        {**call, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "rain"}]},
    ]
    async with shell(cluster=cluster) as client:
        await client.post("/v1/responses", json={"input": items, "tools": [TOOL], "store": False})
    calls = (ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", "{}"))
    assert cluster.turns[0].request.prompt == (
        Message("user", "hello"),
        Message("assistant", "Let me see.", reasoning="Hm.", tool_calls=calls),
        Message("tool", "sunny", tool_call_id="c1", name="weather"),
        Message("tool", "rain", tool_call_id="c2", name="weather"),
    )


def _frames(cuts: list[int]) -> list[Frame]:
    ids = toy_model.encode(ANSWER)
    decoder = toy_model.Decoder(skip_special_tokens=True)
    pieces = tuple(decoder.add(token) for token in ids)
    edges = [0, *cuts, len(ids)]
    return [
        Frame("t", 1, start, ids[start:end], pieces[start:end], (), Finish("eos") if end == len(ids) else None)
        for start, end in zip(edges, edges[1:], strict=False)
    ]


def _read(cuts: list[int], after: int = -1) -> list[Event]:
    output = Output("resp_" + "0" * 48, AnswerParser(FORMAT), after)
    return [event for frame in _frames(cuts) for event in output.take(frame)]


def _texts(events: list[Event]) -> dict[tuple[str, str], dict[int, str]]:
    """For each number the text of an item's deltas up to there; of other events their content."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for event in events:
        item = event.get("item_id") or event["item"]["id"]
        states = found.setdefault((event["type"], item), {})
        text = "".join(list(states.values())[-1:]) + event["delta"] if "delta" in event else str(sorted(event.items()))
        states[event["sequence_number"]] = text
    return found


def test_equal_numbers_are_equal_states_however_the_tokens_are_cut() -> None:
    num_tokens = len(toy_model.encode(ANSWER))
    single = _texts(_read(list(range(1, num_tokens))))
    choose = random.Random(7)
    for _ in range(50):
        cuts = sorted(choose.sample(range(1, num_tokens), choose.randrange(num_tokens - 1)))
        for key, states in _texts(_read(cuts)).items():
            assert {number: single[key][number] for number in states} == states


def test_a_reading_that_goes_on_after_any_event_has_the_rest() -> None:
    num_tokens = len(toy_model.encode(ANSWER))
    choose = random.Random(11)
    for _ in range(50):
        cuts = sorted(choose.sample(range(1, num_tokens), choose.randrange(num_tokens - 1)))
        events = _read(cuts)
        stop = choose.randrange(len(events))
        rest = _read([], after=events[stop]["sequence_number"])
        whole = _joined(events)
        assert _joined([*events[: stop + 1], *rest]) == whole


def _joined(events: list[Event]) -> list[tuple[object, ...]]:
    """The events without numbers, deltas that follow each other as one."""
    joined: list[tuple[object, ...]] = []
    for event in events:
        if "delta" in event and joined and joined[-1][:2] == (event["type"], event["item_id"]):
            joined[-1] = (*joined[-1][:2], str(joined[-1][2]) + event["delta"])
        elif "delta" in event:
            joined.append((event["type"], event["item_id"], event["delta"]))
        else:
            plain = {name: value for name, value in event.items() if name != "sequence_number"}
            joined.append((event["type"], str(plain)))
    return joined
