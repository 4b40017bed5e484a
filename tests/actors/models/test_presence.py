"""A model's actor comes with the first use and goes after the last, over everything but Ray."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from actors.directory.wakes import Wakes
from actors.models.messages import StartTurn
from actors.models.model import Model
from actors.models.presence import Presence
from api.cluster import Retention, SessionOptions
from api.errors import Unavailable
from api.inferlet_events import Completed
from api.turns import Stop, Tokens, TurnRequest, TurnStart
from tests.actors.fake_engine import greedy
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster


class Pool:
    """The only replica of a pool: what it starts are model actors of a small cluster."""

    def __init__(self, cluster: SmallCluster) -> None:
        self._cluster = cluster
        self.is_there = False
        self.num_starts = 0
        self.failure = ""
        self.gone = asyncio.Event()

    async def start(self) -> None:
        """See ``Host``."""
        self.num_starts += 1
        self.gone.clear()
        if self.failure:
            raise Unavailable(self.failure)
        await self._cluster.start_model(0)
        self.is_there = True

    async def end_unused(self, idle_s: float) -> None:
        """See ``Host``."""
        if await self._cluster.models[0].retire.remote(idle_s):
            self._cluster.kill_model()
            self.is_there = False
            self.gone.set()


class Passive(SmallCluster):
    """Its model leaves memory when nobody has used it for a moment."""

    model_settings = replace(SmallCluster.model_settings, passivate_after_s=0.1, start_timeout_s=10.0)


@asynccontextmanager
async def passive(folder: Path, *, knows: bool = True) -> AsyncIterator[tuple[SmallCluster, Pool]]:
    """A cluster whose model has gone; if it ``knows``, after it was there."""
    async with Passive(folder, pool_size=1) as cluster, asyncio.timeout(60):
        pool = Pool(cluster)
        await cluster.models[0].retire.remote(0.0)
        cluster.kill_model()
        if not knows:
            cluster.restart_directory()
        keeping = asyncio.create_task(Presence("fake", pool, cluster.directory).keep())
        yield cluster, pool
        keeping.cancel()


def request(turn_id: str, *prompt: int, count: int = 5) -> TurnRequest:
    return TurnRequest(turn_id, (Tokens(prompt),), stop=Stop(max_tokens=count))


async def ids(stream: object) -> list[int]:
    return [id async for frame in stream for id in frame.ids]  # type: ignore[attr-defined]


async def test_a_kept_session_goes_on_after_the_model_has_been_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_turn, suspects = Model.start_turn, list[str]()

    async def noting(model: Model, message: StartTurn) -> TurnStart:
        if message.is_suspect:
            suspects.append(message.request.turn_id)
        return await start_turn(model, message)

    monkeypatch.setattr(Model, "start_turn", noting)
    async with passive(tmp_path) as (cluster, pool):
        session = await cluster.greenroom.open_session(SessionOptions(retention=Retention("keep")))
        assert pool.num_starts == 0, "a session is opened without the model"
        context: list[int] = []
        for number in range(3):
            answer = await ids(await session.begin(request(f"{number}", 7 + number)))
            context += [7 + number, *greedy([*context, 7 + number], 5)]
            assert answer == context[-5:]
            assert (await cluster.greenroom.models())[0].num_ready == 1
            await pool.gone.wait()
            assert [(info.num_ready, info.is_passive) for info in await cluster.greenroom.models()] == [(0, True)]
            assert (await session.describe()).num_resident == 0
        assert pool.num_starts == 3
        assert suspects == [], "no actor has died of these turns"


async def test_many_first_requests_of_all_kinds_start_it_once(tmp_path: Path) -> None:
    async with passive(tmp_path, knows=False) as (cluster, pool):
        greenroom = cluster.greenroom
        sessions = [greenroom.open_session(SessionOptions()) for _ in range(5)]
        turns = [greenroom.generate(None, request(f"{index}", 9)) for index in range(20)]
        found = await asyncio.gather(greenroom.tokenize("alias", "a"), *sessions, *turns)
        assert pool.num_starts == 1
        assert [await ids(stream) for stream in found[6:]] == [greedy([9], 5)] * 20


async def test_a_turn_keeps_it_there(tmp_path: Path) -> None:
    async with passive(tmp_path) as (cluster, pool):
        stream = await cluster.greenroom.generate(None, request("long", 9, count=400))
        seen = await ids(stream)
        assert seen == greedy([9], 400)
        assert pool.num_starts == 1
        await pool.gone.wait()


async def test_random_uses_around_the_moment_of_leaving_are_all_answered(tmp_path: Path) -> None:
    draw = random.Random(14)
    async with passive(tmp_path) as (cluster, pool):
        session = await cluster.greenroom.open_session(SessionOptions())
        context: list[int] = []
        for number in range(20):
            await asyncio.sleep(draw.uniform(0.08, 0.14))
            one = await cluster.greenroom.generate(None, request(f"one {number}", 9))
            assert await ids(await session.begin(request(f"{number}", 7))) == greedy([*context, 7], 5)
            assert await ids(one) == greedy([9], 5)
            context += [7, *greedy([*context, 7], 5)]
        assert pool.num_starts > 1


async def test_a_program_waits_for_it_where_it_first_uses_it(tmp_path: Path) -> None:
    async with passive(tmp_path, knows=False) as (cluster, pool):
        instance = await launched(
            cluster,
            """
            @inferlet
            async def main(args: Args) -> list:
                model = get_auto_model()
                context = model.create_context()
                context.fill_tokens([7, 8])
                await context.generate(Sampler.greedy(), max_len(3))
                return [model.max_context_tokens > 0, get_model("alias").name, context.tokens]
            """,
        )
        end = (await all_events(instance))[-1]
        assert isinstance(end, Completed), end
        assert end.value == [True, "fake", [7, 8, *greedy([7, 8], 3)]]
        assert pool.num_starts == 1


async def test_a_program_that_was_there_before_goes_on_with_it(tmp_path: Path) -> None:
    async with passive(tmp_path) as (cluster, pool):
        instance = await launched(
            cluster,
            """
            @inferlet
            async def main(args: Args) -> list:
                context = get_auto_model().create_context()
                while await recv() != "exit":
                    context.fill_tokens([7])
                    await context.generate(Sampler.greedy(), max_len(3))
                return context.tokens
            """,
        )
        for number in range(3):
            await instance.send(number)
            while pool.num_starts <= number:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await pool.gone.wait()
        await instance.send("exit")
        end = (await all_events(instance))[-1]
        assert isinstance(end, Completed), end
        expected: list[int] = []
        for _ in range(3):
            expected += [7, *greedy([*expected, 7], 3)]
        assert end.value == expected


async def test_a_model_that_cannot_start_says_why_and_is_tried_again_when_it_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wakes, "HOLD_S", 60.0)
    monkeypatch.setattr(Presence, "AFTER_FAILURE_S", 0.0)
    sentence = "^model 'fake' cannot start: the disk is gone$"
    async with passive(tmp_path) as (cluster, pool):
        pool.failure = "the disk is gone"
        session = await cluster.greenroom.open_session(SessionOptions())
        for number in range(10):
            with pytest.raises(Unavailable, match=sentence):
                await cluster.greenroom.generate(None, request(f"{number}", 9))
            with pytest.raises(Unavailable, match=sentence):
                await session.begin(request(f"turn {number}", 9))
        assert pool.num_starts == 1
        [info] = await cluster.greenroom.models()
        assert (info.is_passive, info.problem) == (False, "model 'fake' cannot start: the disk is gone")
        pool.failure = ""
        monkeypatch.setattr(Wakes, "HOLD_S", 0.0)
        assert await ids(await session.begin(request("again", 9))) == greedy([9], 5)
        assert pool.num_starts == 2


async def test_who_leaves_while_it_waits_leaves_nothing(tmp_path: Path) -> None:
    async with passive(tmp_path) as (cluster, pool):
        held = asyncio.Event()
        starting = pool.start

        async def slow() -> None:
            await held.wait()
            await starting()

        pool.start = slow  # type: ignore[method-assign]
        leaving = [asyncio.create_task(cluster.greenroom.generate(None, request(f"{n}", 9))) for n in range(30)]
        staying = asyncio.create_task(cluster.greenroom.generate(None, request("stays", 9)))
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        held.set()
        assert await ids(await staying) == greedy([9], 5)
        assert len(cluster.models[0].target._turns._turns) == 1


async def test_the_directory_may_die_meanwhile(tmp_path: Path) -> None:
    async with passive(tmp_path) as (cluster, pool):
        asking = asyncio.create_task(cluster.greenroom.tokenize(None, "a"))
        await asyncio.sleep(0)
        cluster.restart_directory()
        await asking
        cluster.restart_directory()
        await pool.gone.wait()
        cluster.restart_directory()
        await cluster.greenroom.tokenize(None, "a")
        assert pool.num_starts == 2
