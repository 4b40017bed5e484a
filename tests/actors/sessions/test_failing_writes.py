"""A session whose journal refuses a record: nothing that was accepted is lost, and no run is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api.cluster import Edit, SessionOptions
from api.errors import GreenroomError, Unavailable
from api.turns import Tokens, TurnRequest
from tests.actors.fake_engine import greedy
from tests.actors.sessions.test_session import collect, ids, request, until
from tests.actors.small_cluster import SmallCluster

TOO_LONG = tuple(range(1, 30))


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1, max_queued_turns=2) as cluster:
        yield cluster


@pytest.fixture
def refuse(cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the journal refuse the next record of a kind."""
    append, refused = cluster.journal.append, list[bytes]()

    async def append_or_refuse(*arguments: Any) -> None:
        (line,) = arguments[3]
        kind = next((kind for kind in refused if line.startswith(b'["' + kind)), None)
        if kind is not None:
            refused.remove(kind)
            raise Unavailable("database or disk is full")
        await append(*arguments)

    monkeypatch.setattr(cluster.journal, "append", append_or_refuse)
    return lambda kind: refused.append(kind.encode())


@pytest.mark.parametrize("is_next_waiting", [False, True])
async def test_what_a_refused_turn_was_to_tell_is_told_by_the_next_one(
    cluster: SmallCluster, refuse: Any, is_next_waiting: bool
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=20))
    await session.edit(Edit("e", addition="added", told=(Tokens((5,)),)))
    refuse("TurnFailed")
    failing = asyncio.create_task(_begin(session, request("a", *TOO_LONG)))
    if is_next_waiting:
        await asyncio.sleep(0)
    else:
        await asyncio.wait([failing])
    stream = await session.begin(request("b", 7))
    assert ids(await collect(stream)) == greedy([5, 7], 5)
    with pytest.raises(GreenroomError):
        await failing
    assert [turn.turn_id for turn in (await session.describe()).turns] == ["b"]


async def test_a_start_that_is_not_recorded_leaves_no_run_and_can_be_tried_again(
    cluster: SmallCluster, refuse: Any
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    refuse("TurnStarted")
    with pytest.raises(Unavailable):
        await session.begin(request("a", 7, count=5000))
    assert not cluster.engines[0]._turns, "it runs for nobody"
    second = ids(await collect(await session.begin(request("b", 8))))
    assert second == greedy([8], 5)
    assert ids(await collect(await session.begin(request("a", 7)))) == greedy([8, *second, 7], 5)


async def test_an_accepted_turn_whose_start_is_not_recorded_starts_again(cluster: SmallCluster, refuse: Any) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    refuse("TurnStarted")
    await session.enqueue(request("a", 7))
    await until(lambda: session_left(cluster))
    assert ids(await collect(await session.resume("a", 0))) == greedy([7], 5)


def session_left(cluster: SmallCluster) -> bool:
    """Whether no actor holds the session any longer, or it writes nothing here."""
    tenants = [slot.target.tenant for slot in cluster.slots.values()]
    return all(tenant is None or tenant.is_fenced for tenant in tenants)


async def _begin(session: Any, turn: TurnRequest) -> Any:
    return await session.begin(turn)
