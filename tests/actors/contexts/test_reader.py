"""The reader's polls: whatever order their answers come in, every follower gets every frame."""

from __future__ import annotations

import asyncio
import random
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

    answers = await asyncio.wait_for(asyncio.gather(*(follow(f"c/{index % 5}") for index in range(8))), 5)
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
