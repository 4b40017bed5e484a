"""The reader's polls: whatever order their answers come in, every follower gets every frame."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from actors.contexts import reader as turn_reader
from actors.contexts.reader import TurnReader
from actors.models.messages import PollReply
from api.errors import ModelLost
from api.turns import Finish, Frame


class ScriptedModel:
    """A model actor whose turns all grow by a token a poll, and whose answers take as long as chance wants."""

    key = "model"

    def __init__(self, length: int, seed: int) -> None:
        self._length = length
        self._chance = random.Random(seed)
        self._ends: dict[str, int] = {}

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        """See ``ModelRef.poll``."""
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)
        frames = {}
        for key, offset in cursors.items():
            end = self._ends[key] = min(self._length, max(self._ends.get(key, 0), offset) + 1)
            ids = tuple(range(offset, end))
            finish = Finish("length") if end == self._length else None
            frames[key] = Frame(key, 1, offset, ids, tuple(map(str, ids)), (), finish)
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)
        return PollReply(frames)


@pytest.mark.parametrize("seed", range(50))
async def test_followers_that_come_and_go_at_any_moment_get_every_token_once(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(turn_reader, "GATHER_S", 0.001 if seed % 10 == 0 else 0.0)
    chance = random.Random(seed)
    reader, model = TurnReader(), ScriptedModel(20, seed)

    async def follow(key: str) -> list[int]:
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        return [id async for frame in reader.follow(model, key, 0) for id in frame.ids]  # type: ignore[arg-type]

    answers = await asyncio.wait_for(asyncio.gather(*(follow(f"c/{index % 5}") for index in range(8))), 30)
    assert answers == [list(range(20))] * 8


class DeadModel:
    """A model actor that is gone."""

    key = "dead"

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        """See ``ModelRef.poll``."""
        raise ModelLost("it died")


async def test_every_follower_of_a_dead_actor_is_told() -> None:
    reader = TurnReader()
    for _ in range(2):
        with pytest.raises(ModelLost):
            await anext(reader.follow(DeadModel(), "c/t", 0))  # type: ignore[arg-type]


class CountingModel(ScriptedModel):
    """The same, and it counts how often each turn is asked for."""

    def __init__(self, length: int, seed: int) -> None:
        super().__init__(length, seed)
        self.num_asked: Counter[str] = Counter()

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        """See ``ModelRef.poll``."""
        self.num_asked.update(cursors.keys())
        return await super().poll(reader_id, cursors, wait_s)


async def test_for_a_follower_that_takes_nothing_nothing_is_asked_until_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn_reader, "STUCK_S", 0.05)
    monkeypatch.setattr(turn_reader, "GATHER_S", 0.001)
    reader, model = TurnReader(), CountingModel(100_000, 1)
    gone, there = (reader.follow(model, key, 0) for key in ("c/gone", "c/there"))  # type: ignore[arg-type]
    got = list((await anext(gone)).ids)
    until = time.monotonic() + 0.5
    asked: list[int] = []
    while time.monotonic() < until:
        await anext(there)
        asked.append(model.num_asked["c/gone"])
    assert asked[-1] == asked[len(asked) // 2] < model.num_asked["c/there"], "the other one is still asked for"
    while len(got) < asked[-1] + 5:
        got += (await asyncio.wait_for(anext(gone), 30)).ids
    assert got == list(range(len(got)))
    for stream in (gone, there):
        await stream.aclose()
