"""Turns without a session, of clients that send their history again, on two model actors through two gateways."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cluster.greenroom import Greenroom
from actors.contexts.reader import TurnReader
from actors.topics.ref import BrokerRef
from api.cluster import SessionOptions, TurnStream, Warmth
from api.errors import LengthExceeded
from api.turns import Stop, Tokens, TurnRequest
from tests.actors.fake_engine import greedy
from tests.actors.small_cluster import SmallCluster

NUM_TOKENS, NUM_NEW = 5, 7
TEMPLATE = 64
"""Tokens at the end of a history that might be computed again."""


def gateways(small: SmallCluster) -> list[Greenroom]:
    """Two processes' sides of one cluster."""
    return [Greenroom(small.directory, small.journal, 10.0, TurnReader(), BrokerRef(())) for _ in range(2)]


async def begin(
    greenroom: Greenroom, turn_id: str, tokens: list[int], owner: str = "", warmth: Warmth = "kept"
) -> TurnStream:
    request = TurnRequest(turn_id, (Tokens(tuple(tokens)),), stop=Stop(NUM_TOKENS))
    return await greenroom.generate(None, request, owner, warmth)


async def read(stream: TurnStream) -> list[int]:
    return [token for frame in [frame async for frame in stream] for token in frame.ids]


def opening(number: int) -> list[int]:
    """The start of a chat."""
    return [number * 7 % 900 + 1 + position for position in range(150)]


async def test_every_chat_finds_its_context_whichever_gateway_it_comes_through(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, num_models=2) as small:
        both = gateways(small)
        chats = [opening(number) for number in range(12)]
        for round in range(3):
            for number, chat in enumerate(chats):
                stream = await begin(both[(number + round) % 2], f"{round}-{number}", chat)
                answer = await read(stream)
                assert answer == greedy(chat, NUM_TOKENS)
                if round:
                    assert stream.start.num_resident >= len(chat) - NUM_NEW - NUM_TOKENS - TEMPLATE > 0
                chat += [*answer, *range(300 + round, 300 + round + NUM_NEW)]
        assert all(engine.contexts for engine in small.engines)


async def test_another_owner_finds_nothing_and_a_cold_turn_neither_finds_nor_leaves_anything(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as small:
        chat = opening(1)
        await read(await begin(small.greenroom, "cold", chat, "ada", "cold"))
        assert not small.engines[0].contexts
        await read(await begin(small.greenroom, "first", chat, "ada"))
        for turn_id, owner, warmth, is_found in (
            ("other", "bob", "kept", False),
            ("own, cold", "ada", "cold", False),
            ("own", "ada", "shared", True),
        ):
            stream = await begin(small.greenroom, turn_id, [*chat, 5], owner, warmth)  # type: ignore[arg-type]
            assert (stream.start.num_resident > 0) == is_found, turn_id
            assert await read(stream) == greedy([*chat, 5], NUM_TOKENS)


async def test_a_turn_goes_on_when_the_model_actor_of_its_warm_context_dies(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, num_models=2) as small:
        chat = opening(1)
        answer = await read(await begin(small.greenroom, "first", chat))
        chat += [*answer, 5]
        warm = next(index for index, engine in enumerate(small.engines) if engine.contexts)
        small.engines[warm].hold.clear()
        stream = await begin(small.greenroom, "second", chat)
        assert stream.start.num_resident > 0
        small.kill_model(warm)
        assert await read(stream) == greedy(chat, NUM_TOKENS)
        third = await begin(small.greenroom, "third", chat)
        assert third.start.num_resident > 0
        assert await read(third) == greedy(chat, NUM_TOKENS)


async def test_a_client_that_leaves_keeps_what_was_computed_for_its_retry(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as small:
        chat = opening(1)
        stream = await begin(small.greenroom, "first", chat)
        async for _ in stream:
            break
        await stream.cancel()
        again = await begin(small.greenroom, "second", chat)
        assert again.start.num_resident > 0
        assert await read(again) == greedy(chat, NUM_TOKENS)


async def test_a_chat_that_is_sent_again_begins_where_a_session_is_and_the_reverse(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as small:
        chat = opening(1)
        for owner in "ada", "bob":
            session = await small.greenroom.open_session(SessionOptions(), owner)
            stream = await session.begin(TurnRequest("a", (Tokens(tuple(chat)),), stop=Stop(NUM_TOKENS)))
            assert (stream.start.num_resident, await read(stream)) == (0, greedy(chat, NUM_TOKENS))
        longer = [*chat, *greedy(chat, NUM_TOKENS), *range(300, 300 + NUM_NEW)]
        again = await begin(small.greenroom, "again", longer, "ada")
        assert again.start.num_resident >= len(chat)
        assert await read(again) == greedy(longer, NUM_TOKENS)
        other = await small.greenroom.open_session(SessionOptions(), "ada")
        last = [*longer, *greedy(longer, NUM_TOKENS)]
        stream = await other.begin(TurnRequest("b", (Tokens(tuple(last)),), stop=Stop(NUM_TOKENS)))
        assert stream.start.num_resident >= len(longer)
        assert await read(stream) == greedy(last, NUM_TOKENS)
        unchanged = await session.begin(TurnRequest("c", (Tokens((7,)),), stop=Stop(NUM_TOKENS)))
        assert await read(unchanged) == greedy([*chat, *greedy(chat, NUM_TOKENS), 7], NUM_TOKENS)
        foreign = await begin(small.greenroom, "foreign", longer, "eve")
        assert foreign.start.num_resident == 0
        await read(foreign)


async def test_a_session_that_is_refused_leaves_nothing_of_what_it_would_have_begun_from(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as small:
        chat = opening(1)
        await read(await begin(small.greenroom, "first", chat))
        held = set(small.engines[0].contexts)
        session = await small.greenroom.open_session(SessionOptions(max_context=10), "")
        with pytest.raises(LengthExceeded):
            await session.begin(TurnRequest("a", (Tokens(tuple(chat)),)))
        assert set(small.engines[0].contexts) == held
