"""Turns with tools through the Python client, over connections that break."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from api.answers.events import ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.client import Client
from api.http.app import build_app
from api.settings import ApiSettings
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Message, result_of
from tests.api import toy_model
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.live_server import serving

WEATHER = Tool("weather", "Now", '{"type": "object", "properties": {"city": {"type": "string"}}}')
CALLED = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
SAYS = ("<think>Hm.</think>Let me see. " + CALLED + "</s>", "Sunny.</s>")
ANSWERS = AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>"))


def scripted() -> FakeCluster:
    cluster = FakeCluster(replace(TOY, answers=ANSWERS))
    cluster.model = toy_model.says(*SAYS)
    return cluster


async def test_calls_come_and_their_results_go() -> None:
    cluster = scripted()
    async with serving(build_app(cluster, ApiSettings())) as server, Client(server) as client:
        session = await client.open_session()
        asked = session.generate("Weather?", tools=[WEATHER], tool_choice=ToolChoice.of("weather"), turn_id="a")
        assert await asked == asked.text == "Let me see."
        assert asked.reasoning == "Hm."
        (call,) = asked.calls
        assert call == ToolCall("call_a_0", "weather", '{"city": "Rome"}')
        result = result_of(call, "sunny")
        answer = session.generate(result, tools=[WEATHER], tool_choice=ToolChoice("none"), parallel_tool_calls=False)
        assert await answer == "Sunny."
        assert not answer.calls
    first, second = (turn.request for turn in cluster.turns)
    assert first.tools == second.tools == (replace(WEATHER, parameters=json.dumps(json.loads(WEATHER.parameters))),)
    assert (first.tool_choice, second.tool_choice) == (ToolChoice.of("weather"), ToolChoice("none"))
    assert (first.parallel_tool_calls, second.parallel_tool_calls) == (True, False)
    assert second.prompt == (Message("tool", "sunny", tool_call_id="call_a_0", name="weather"),)


async def test_events_are_the_same_over_connections_that_break_at_ten_random_points() -> None:
    cluster, chance = scripted(), random.Random(3)
    async with serving(build_app(cluster, ApiSettings())) as server, proxying(server) as (url, proxy):
        async with Client(url, patience_s=20) as client:
            session = await client.open_session()
            proxy.limits = [chance.randrange(300, 4000) for _ in range(10)]
            answer = session.generate("Weather?", tools=[WEATHER], turn_id="a")
            events = [event async for event in answer.events()]
    assert proxy.num_cut >= 1
    texts = {kind: "".join(e.text for e in events if isinstance(e, kind)) for kind in (ReasoningDelta, TextDelta)}
    assert texts == {ReasoningDelta: "Hm.", TextDelta: "Let me see."}
    assert [event for event in events if isinstance(event, CallBegun)] == [CallBegun(0, "call_a_0", "weather")]
    assert "".join(event.text for event in events if isinstance(event, ArgumentsDelta)) == '{"city": "Rome"}'
    assert events[-1] == CallEnded(0)
