"""What the fake says beyond the contract that it shares with the real cluster (see ``tests.actors.cluster``)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from api.cluster import Cluster, SessionOptions
from api.errors import LengthExceeded, TurnRunning
from api.turns import BeginningOfText, Finish, Frame, Stop, Text, TurnRequest
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster


def request(text: str = "ab", turn_id: str = "t", max_context: int | None = None, max_tokens: int = 5) -> TurnRequest:
    """A turn of this text."""
    return TurnRequest(turn_id, (Text(text),), stop=Stop(max_tokens), max_context=max_context)


async def read(stream: object) -> list[Frame]:
    """All frames."""
    return [frame async for frame in stream]  # type: ignore[attr-defined]


async def test_it_fills_the_protocol() -> None:
    cluster: Cluster = FakeCluster()
    assert [info.name for info in await cluster.models()] == ["toy", "other"]


async def test_a_character_comes_with_its_last_token_and_a_cut_one_in_the_tail() -> None:
    cluster = FakeCluster()
    cluster.model = toy_model.says("é€")
    frames = await read(await cluster.generate(None, request(max_tokens=3)))
    assert [frame.text for frame in frames] == ["", "é", "\ufffd"]
    assert frames[-1].finish == Finish("length", tail="\ufffd")


async def test_a_context_holds_one_token_more_than_its_cache() -> None:
    cluster = FakeCluster()
    frames = await read(await cluster.generate(None, request("abc", max_context=5, max_tokens=9)))
    assert len(frames) == 3
    assert frames[-1].finish == Finish("context")
    with pytest.raises(LengthExceeded):
        await cluster.generate(None, request("abcdef", max_context=5))


async def test_suffixes_are_tested_at_strides_that_start_anew_at_an_end_of_text() -> None:
    texts = []
    for stride in (2, 3):
        cluster = FakeCluster()
        cluster.model = toy_model.says("x.y</s>z.a")
        stop = Stop(50, at_eos=False, suffixes=(".",), stride=stride)
        frames = await read(await cluster.generate(None, replace(request(), stop=stop, skip_special_tokens=False)))
        texts.append("".join(frame.text for frame in frames))
    assert texts == ["x.", "x.y</s>z.a" + 43 * "</s>"]


async def test_a_held_turn_is_cancelled_with_what_it_had() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    session = await cluster.open_session(SessionOptions(), "")
    stream = await session.begin(request())
    with pytest.raises(TurnRunning):
        await session.rollback(0)
    cluster.pace.allow(2)
    frames = stream.__aiter__()
    await anext(frames)
    await anext(frames)
    assert await session.cancel()
    assert (await anext(frames)).finish == Finish("cancelled")
    assert (await session.describe()).length == 4


async def test_leaving_a_temporary_turn_cancels_it() -> None:
    cluster = FakeCluster()
    cluster.pace.hold()
    cluster.pace.allow(1)
    frames = (await cluster.generate(None, request())).__aiter__()
    await anext(frames)
    await frames.aclose()  # type: ignore[attr-defined]
    await asyncio.wait_for(cluster.turns[0].ended.wait(), 30)
    assert cluster.turns[0].finish == Finish("cancelled")


async def test_the_beginning_of_text_is_added_only_to_an_empty_context() -> None:
    cluster = FakeCluster()
    session = await cluster.open_session(SessionOptions(), "")
    first = await session.begin(TurnRequest("t", (BeginningOfText(),), stop=Stop(max_tokens=1)))
    await read(first)
    second = await session.begin(TurnRequest("u", (BeginningOfText(),), stop=Stop(max_tokens=1)))
    assert (first.start.prompt_ids, second.start.prompt_ids) == ((toy_model.BOS,), ())
