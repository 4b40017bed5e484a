"""Programs whose generations have tools, on a model that obeys; over everything but Ray and a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from api.inferlet_events import Completed
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer

PROGRAM = """
import json

WEATHER = Tool("weather", "Now", '{"type": "object", "properties": {"city": {"type": "string"}}}')
CITIES = ("Rome", "Oslo")

@inferlet
async def main(args: Args) -> list:
    context = get_auto_model().create_context()
    context.fill_system("Help.")
    context.fill_user("\\n".join(f'call weather {{"city": "{city}"}}' for city in CITIES))
    asked = context.generate(stop=max_len(200) | ends_with_any([[0]]), tools=[WEATHER])
    text = await asked
    send([text, [[call.name, json.loads(call.arguments)] for call in asked.calls]])
    assert len({call.id for call in asked.calls}) == 2
    await recv()
    for call in asked.calls:
        context.fill_result(call, "sunny in " + json.loads(call.arguments)["city"])
    told = context.generate(tools=[WEATHER])
    pieces = [piece async for piece in told]
    assert told.text == "".join(pieces) and not told.calls
    context.fill_user('call weather {"city": "Rome"}')
    again = context.generate(tools=[WEATHER], tool_choice=ToolChoice("required"))
    assert [piece async for piece in again] == []
    assert again.calls[0].id not in {call.id for call in asked.calls}
    context.fill_user("say <tool_call>")
    return [told.text, len(again.calls), await context.generate(tools=[WEATHER], tool_choice=ToolChoice("none"))]
"""
WRONG = """
@inferlet
async def main(args: Args) -> list:
    context, found = get_auto_model().create_context(), []
    draws = Sampler.custom(lambda candidates: candidates.ids[0])
    asked = ({"tools": ["weather"]}, {"tools": [Tool("a")], "tool_choice": "auto"}, {"tool_choice": ToolChoice.of("b")})
    for options in (*asked, {"sampler": draws, "tools": [Tool("a")]}):
        try:
            context.generate(**options)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return found
"""


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(
        tmp_path,
        pool_size=0,
        features=frozenset(("constraint", "distribution")),
        engine=ScriptedEngine,
        tokenizer=ScriptedTokenizer,
    ) as small:
        yield small


async def test_a_program_gets_calls_and_answers_them_also_over_its_death(small: SmallCluster) -> None:
    instance = await launched(small, PROGRAM)
    (first,) = await messages(instance, 1)
    assert first == ["", [["weather", {"city": "Rome"}], ["weather", {"city": "Oslo"}]]]
    small.kill_inferlet(instance.instance_id)
    await instance.send("go on")
    *_, last = await all_events(instance)
    assert isinstance(last, Completed), last
    assert last.value == ["told sunny in Rome, sunny in Oslo", 1, "<tool_call>"]
    (engine,) = small.engines
    assert isinstance(engine, ScriptedEngine)
    assert [role for role, _ in engine.read[0]] == ["system", "user"]
    assert [role for role, _ in engine.read[1]] == ["system", "user", "assistant", "tool", "tool"]


async def test_what_cannot_be_is_refused_in_the_line_that_asks(small: SmallCluster) -> None:
    *_, last = await all_events(await launched(small, WRONG))
    assert isinstance(last, Completed), last
    assert last.value == [
        "InvalidRequest: a tool is a Tool, not 'weather'",
        "InvalidRequest: a choice of tools is a ToolChoice, not 'auto'",
        "InvalidRequest: no tool is called 'b'",
        "Unsupported: a custom sampler draws freely: it cannot be held to the tools that there are",
    ]
