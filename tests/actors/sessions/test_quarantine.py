"""A turn that ends the process of its model actor, each time: it fails, and nothing else does. Greedy is the oracle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from actors.contexts.deaths import Deaths
from actors.engine.contract import Output
from actors.models.messages import StartTurn
from actors.models.model import Model
from api.cluster import SessionHandle, SessionOptions
from api.errors import GreenroomError
from api.inferlet_events import Completed, Failed, Message
from api.turns import Stop, Tokens, TurnRequest, TurnStart
from tests.actors.fake_engine import FakeEngine, _Turn, greedy
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster

POISON = 666
DEATHS: list[str] = []


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine fails, and takes its process with it, on the third token of every turn that was given the poison."""
    advance = FakeEngine._advance

    def poisoned(engine: FakeEngine, turn_id: str, turn: _Turn) -> Output:
        if POISON in engine.contexts[turn.admission.context_id] and turn.made == 2:
            DEATHS.append(turn_id)
            raise SystemError("out of memory")
        return advance(engine, turn_id, turn)

    monkeypatch.setattr(FakeEngine, "_advance", poisoned)
    DEATHS.clear()


def request(turn_id: str, *prompt: int, count: int = 5) -> TurnRequest:
    return TurnRequest(turn_id, (Tokens(prompt),), stop=Stop(max_tokens=count))


async def read(stream: Any) -> list[int]:
    return [token_id async for frame in stream for token_id in frame.ids]


async def begin_and_read(session: SessionHandle, begun: TurnRequest) -> list[int]:
    return await read(await session.begin(begun))


@asynccontextmanager
async def restarting(cluster: SmallCluster) -> AsyncIterator[SmallCluster]:
    """Ray, which starts a model actor again whose process has ended."""

    async def watch() -> None:
        while True:
            await cluster.models[0]._died.wait()
            cluster.kill_model()
            await cluster.start_model(0)

    watching = asyncio.create_task(watch())
    try:
        yield cluster
    finally:
        watching.cancel()


async def test_a_turn_that_ends_model_actors_fails_and_its_neighbours_go_on(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1) as cluster, restarting(cluster):
        sessions = [await cluster.greenroom.open_session(SessionOptions()) for _ in range(5)]
        lengths = (8, 3 * Deaths.NUM_HARMLESS, 40, 9)
        cluster.engines[0].hold.clear()
        bad, *good = [
            await session.begin(request("t", *prompt, count=count))
            for session, prompt, count in zip(
                sessions, ((7, POISON), (7, 1), (7, 2), (7, 3), (7, 4)), (50, *lengths), strict=True
            )
        ]
        cluster.engines[0].hold.set()
        async with asyncio.timeout(30):
            answers = [asyncio.create_task(read(stream)) for stream in good]
            with pytest.raises(GreenroomError, match=f"^{Deaths.SENTENCE}$") as failed:
                await read(bad)
            assert (failed.value.code, failed.value.retryable) == ("internal", False)
            assert [await answer for answer in answers] == [
                greedy([7, number], count) for number, count in enumerate(lengths, start=1)
            ]
        assert DEATHS == [f"{sessions[0].session_id}/t"] * 2
        description = await sessions[0].describe()
        assert (description.length, description.running, description.turns) == (0, None, ())
        assert await read(await sessions[0].begin(request("next", 8))) == greedy([8], 5)


async def test_a_turn_without_a_session_fails_so_too(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as cluster, restarting(cluster), asyncio.timeout(30):
        good = asyncio.create_task(read(await cluster.greenroom.generate(None, request("good", 7, count=60))))
        with pytest.raises(GreenroomError, match=Deaths.SENTENCE):
            await read(await cluster.greenroom.generate(None, request("bad", POISON, count=60)))
        assert len(DEATHS) == 2
        assert await good == greedy([7], 60)


async def test_the_quarantine_survives_a_restart_of_everything(tmp_path: Path) -> None:
    session_id = ""
    for life in (1, 2):
        async with SmallCluster(tmp_path) as cluster, asyncio.timeout(30):
            if life == 1:
                session_id = (await cluster.greenroom.open_session(SessionOptions())).session_id
            session = await cluster.greenroom.session(session_id)
            reading = asyncio.ensure_future(begin_and_read(session, request("bad", 7, POISON)))
            while len(DEATHS) < life:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.wait((reading,), timeout=0.3)
            assert len(DEATHS) == life, "the process ended, and nothing of this cluster lives on"
            reading.cancel()
            with suppress(GreenroomError, asyncio.CancelledError):
                await reading
    for _ in range(2):
        async with SmallCluster(tmp_path) as cluster, asyncio.timeout(30):
            session = await cluster.greenroom.session(session_id)
            for asking in (session.resume("bad", 0), session.begin(request("bad", 7, POISON))):
                with pytest.raises(GreenroomError, match=Deaths.SENTENCE) as failed:
                    await asking
                assert failed.value.code == "internal"
            tokens = [turn.end_length for turn in (await session.describe()).turns]
            assert await read(await session.begin(request(f"next {len(tokens)}", 8))) != []
    assert len(DEATHS) == 2


async def test_a_turn_that_ends_model_actors_while_it_is_started_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_turn = Model.start_turn

    async def fatal(model: Model, message: StartTurn) -> TurnStart:
        if message.request.turn_id == "bad":
            DEATHS.append(message.key)
            model._die()
            await asyncio.Event().wait()
        return await start_turn(model, message)

    monkeypatch.setattr(Model, "start_turn", fatal)
    async with SmallCluster(tmp_path) as cluster, restarting(cluster), asyncio.timeout(30):
        session, other = [await cluster.greenroom.open_session(SessionOptions()) for _ in range(2)]
        good = asyncio.create_task(read(await other.begin(request("good", 7, count=90))))
        with pytest.raises(GreenroomError, match=Deaths.SENTENCE):
            await session.begin(request("bad", 7))
        assert len(DEATHS) == Deaths.MAX_STARTING
        with pytest.raises(GreenroomError, match=Deaths.SENTENCE):
            await session.begin(request("bad", 7))
        assert len(DEATHS) == Deaths.MAX_STARTING
        assert await read(await session.begin(request("next", 8))) == greedy([8], 5)
        with suppress(GreenroomError):
            await good


async def test_a_turn_that_runs_alone_in_two_deaths_is_not_started_a_third_time(tmp_path: Path) -> None:
    """Whatever it was that ended them, and however far the turn had come."""
    async with SmallCluster(tmp_path) as cluster, asyncio.timeout(30):
        session = await cluster.greenroom.open_session(SessionOptions())
        got: list[int] = []

        async def reading() -> None:
            async for frame in await session.begin(request("t", 7, count=100_000)):
                got.extend(frame.ids)

        task = asyncio.create_task(reading())
        for num_tokens in (10, 300):
            while len(got) < num_tokens:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            cluster.kill_model()
            await cluster.start_model(0)
        with pytest.raises(GreenroomError, match=Deaths.SENTENCE):
            await task
        assert got == greedy([7], len(got))


PROGRAM = f"""
from api.errors import GreenroomError
@inferlet
async def main(args: Args) -> list:
    model = get_auto_model()
    bad, good, after = (model.create_context() for _ in range(3))
    bad.fill({chr(POISON)!r})
    good.fill("a")
    after.fill("b")
    beside = asyncio.ensure_future(good.generate(stop=max_len(90)))
    try:
        await bad.generate(stop=max_len(9))
    except GreenroomError as error:
        send([error.code, str(error)])
    return [await beside, await after.generate(stop=max_len(3))]
"""


async def test_a_program_is_told_and_goes_on(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as cluster, restarting(cluster), asyncio.timeout(30):
        told, ended = [
            event
            for event in await all_events(await launched(cluster, PROGRAM))
            if isinstance(event, Message | Completed | Failed)
        ]
        assert isinstance(told, Message)
        assert told.value == ["internal", Deaths.SENTENCE]
        assert isinstance(ended, Completed)
        texts = ["".join(f"<{token_id}>" for token_id in greedy([ord(c)], count)) for c, count in (("a", 90), ("b", 3))]
        assert ended.value == texts
        assert len(DEATHS) == 2
