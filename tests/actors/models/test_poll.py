"""When a poll is answered, and with what."""

from __future__ import annotations

import asyncio

from actors.engine.contract import Output
from actors.models.messages import StartTurn
from actors.models.poll import Pollers
from actors.models.turn import ModelTurn
from api.turns import Finish, Stop, TurnRequest, TurnStart


def a_turn(name: str, num_tokens: int) -> ModelTurn:
    request = TurnRequest(name, (), stop=Stop(100))
    turn = ModelTurn(StartTurn(request, "c", 1, 0, b"", None), TurnStart(name, 0, (), 0))
    grow(turn, num_tokens)
    return turn


def grow(turn: ModelTurn, num_tokens: int, finish: Finish | None = None) -> None:
    turn.take(Output(turn.key, (1,) * num_tokens, ("a",) * num_tokens, finish=finish), 0.0)


async def test_a_first_token_and_an_end_are_shown_at_once_and_alone() -> None:
    pollers = Pollers(interval_s=60.0)
    turns = {name: a_turn(name, 3) for name in ("early", "new", "ending")}
    await pollers.poll("reader", dict.fromkeys(turns, 1), turns, 1.0)  # due: nothing was shown before
    grow(turns["ending"], 1, Finish("length"))
    reply = await pollers.poll("reader", {"early": 1, "new": 0, "ending": 3}, turns, 1.0)
    assert {*reply.frames} == {"new", "ending"}


async def test_what_comes_between_is_shown_together_when_it_is_due() -> None:
    pollers = Pollers(interval_s=0.01)
    turns = {name: a_turn(name, 3) for name in "ab"}
    await pollers.poll("reader", dict.fromkeys(turns, 1), turns, 1.0)
    for turn in turns.values():
        grow(turn, 2)
    reply = await asyncio.wait_for(pollers.poll("reader", dict.fromkeys(turns, 3), turns, 60.0), 30)
    assert [len(frame.ids) for frame in reply.frames.values()] == [2, 2]


async def test_a_reader_of_many_turns_gets_fewer_and_bigger_frames() -> None:
    intervals = [Pollers(0.02)._interval(num_turns) for num_turns in (1, 10, 32, 1000)]
    assert intervals == [0.02, 0.04, 0.128, 0.2]


async def test_news_of_one_turn_does_not_put_off_the_others() -> None:
    pollers = Pollers(interval_s=0.05)
    turns = {"steady": a_turn("steady", 5)}
    await pollers.poll("reader", {"steady": 1}, turns, 1.0)
    loop = asyncio.get_running_loop()
    began, shown = loop.time(), 0
    for index in range(1000):
        name = str(index)
        turns[name] = a_turn(name, 1)
        reply = await pollers.poll("reader", {"steady": 2, name: 0}, turns, 1.0)
        shown += "steady" in reply.frames
        if shown:
            break
        await asyncio.sleep(0.001)
    assert loop.time() - began < 30
    assert shown
