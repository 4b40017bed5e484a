"""A session's turns with tools, over its death: who reads one knows which tools its answer might call."""

from __future__ import annotations

from pathlib import Path

from api.answers.collected import Collected
from api.answers.parser import AnswerParser
from api.cluster import SessionOptions, TurnStream
from api.constraints import Choice
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Message, Part, Stop, TurnRequest, result_of
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer

WEATHER = Tool("weather", "Now", '{"type": "object", "properties": {"city": {"type": "string"}}}')
X = Choice(("x",))
ASKED = Message("user", 'call weather {"city": "Rome"}')


def request(turn_id: str, message: Message, choice: ToolChoice) -> TurnRequest:
    return TurnRequest(turn_id, (message,), stop=Stop(100), tools=(WEATHER,), tool_choice=choice)


async def calls_in(stream: TurnStream) -> tuple[ToolCall, ...]:
    """What the tools that its start names are called with."""
    found, parser = Collected(), AnswerParser(ScriptedTokenizer.answers, "call_", stream.start.tools)
    async for frame in stream:
        for event in parser.take(frame):
            found.take(event)
    return found.calls


async def test_the_tools_of_a_turn_are_known_while_it_runs_and_ever_after(tmp_path: Path) -> None:
    expected = (ToolCall("call_0", "weather", '{"city": "Rome"}'),)
    async with SmallCluster(
        tmp_path,
        pool_size=0,
        features=frozenset(("constraint",)),
        engine=ScriptedEngine,
        tokenizer=ScriptedTokenizer,
    ) as small:
        session = await small.greenroom.open_session(SessionOptions())
        (engine,) = small.engines
        engine.hold.clear()
        running = await session.begin(request("a", ASKED, ToolChoice()))
        other = await session.resume("a", 0)
        assert running.start.tools == other.start.tools == (WEATHER,)
        engine.hold.set()
        assert await calls_in(running) == await calls_in(other) == expected
        small.kill_session(session.session_id)
        assert await calls_in(await session.resume("a", 0)) == expected
        told = await session.begin(request("b", result_of(expected[0], "sunny"), ToolChoice("none")))
        assert not told.start.tools
        assert "".join([frame.text async for frame in told]) == "told sunny"
        assert not (await session.resume("b", 0)).start.tools


async def test_it_is_known_of_a_turn_while_it_runs_and_ever_after_that_its_reply_is_held(tmp_path: Path) -> None:
    async with SmallCluster(
        tmp_path,
        pool_size=0,
        features=frozenset(("constraint",)),
        engine=ScriptedEngine,
        tokenizer=ScriptedTokenizer,
    ) as small:
        session = await small.greenroom.open_session(SessionOptions())
        turns: list[tuple[str, tuple[Part, ...], Choice | None]] = [
            ("a", (ASKED,), X),
            ("b", (ASKED,), None),
            ("c", (), X),
        ]
        for turn_id, prompt, constraint in turns:
            stream = await session.begin(TurnRequest(turn_id, prompt, stop=Stop(5), constraint=constraint))
            assert stream.start.is_held_reply == (turn_id == "a")
            assert [frame async for frame in stream]
        small.kill_session(session.session_id)
        held = [(await session.resume(turn_id, 0)).start.is_held_reply for turn_id in "abc"]
        assert held == [True, False, False]
