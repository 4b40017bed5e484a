"""Adapters from the HTTP routes to the engine, over everything but Ray. The fake model answers otherwise with each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api.errors import UnknownAdapter
from api.http.app import build_app
from api.inferlet_events import Completed, Failed
from api.settings import ApiSettings
from api.turns import Stop, Tokens, TurnRequest
from tests.actors.fake_engine import greedy, write_adapter
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def http(cluster: SmallCluster) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(cluster.greenroom, ApiSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def say(cluster: SmallCluster, session_id: str, turn_id: str, token: int) -> list[int]:
    """The ids that a turn of five tokens adds."""
    session = await cluster.greenroom.session(session_id)
    stream = await session.begin(TurnRequest(turn_id, (Tokens((token,)),), stop=Stop(max_tokens=5)))
    return [token_id async for frame in stream for token_id in frame.ids]


async def test_a_session_answers_with_its_adapter_and_so_do_its_forks(
    cluster: SmallCluster, http: httpx.AsyncClient
) -> None:
    assert (await http.get("/api/models")).json()["models"][0]["adapters"] == ["formal", "pirate"]
    session = (await http.post("/api/sessions", json={"adapter": "pirate"})).json()
    first = await say(cluster, session["id"], "a", 7)
    assert first == greedy([7], 5, "pirate")
    branch = (await http.post(f"/api/sessions/{session['id']}/fork")).json()
    assert branch["adapter"] == "pirate"
    assert await say(cluster, branch["id"], "b", 8) == greedy([7, *first, 8], 5, "pirate")
    plain = (await http.post("/api/sessions")).json()
    assert plain["adapter"] is None
    assert await say(cluster, plain["id"], "a", 7) == greedy([7], 5)


@pytest.mark.parametrize("what", ["session", "model"])
async def test_a_session_keeps_its_adapter_when_an_actor_dies(
    what: str, cluster: SmallCluster, http: httpx.AsyncClient
) -> None:
    session = (await http.post("/api/sessions", json={"adapter": "formal"})).json()
    first = await say(cluster, session["id"], "a", 7)
    if what == "session":
        cluster.kill_session(session["id"])
    else:
        cluster.kill_model()
        await cluster.start_model(0)
    assert await say(cluster, session["id"], "b", 8) == greedy([7, *first, 8], 5, "formal")
    assert (await http.get(f"/api/sessions/{session['id']}")).json()["adapter"] == "formal"


async def test_a_session_cannot_be_opened_with_an_adapter_that_is_not_there(
    cluster: SmallCluster, http: httpx.AsyncClient
) -> None:
    response = await http.post("/api/sessions", json={"adapter": "polite"})
    assert (response.status_code, response.headers["X-Greenroom-Error"]) == (400, "unknown_adapter")
    assert response.json()["error"]["message"] == "the model has no adapter 'polite'; there are: formal, pirate"
    assert (await http.get("/api/sessions")).json() == {"sessions": []}


async def test_a_turn_on_a_model_that_has_lost_the_adapter_is_refused_and_the_session_stays(
    cluster: SmallCluster, http: httpx.AsyncClient
) -> None:
    session = (await http.post("/api/sessions", json={"adapter": "pirate"})).json()
    cluster.kill_model()
    await cluster.start_model(0, adapters=("formal",))
    with pytest.raises(UnknownAdapter, match="'pirate'; there are: formal"):
        await say(cluster, session["id"], "a", 7)
    cluster.kill_model()
    await cluster.start_model(0)
    assert await say(cluster, session["id"], "b", 7) == greedy([7], 5, "pirate")


async def test_a_session_waits_for_its_adapter_and_goes_on(
    cluster: SmallCluster, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    body = {"name": "late", "path": str(write_adapter(tmp_path / "late"))}
    loaded = await http.post("/api/models/fake/adapters", json=body)
    assert (loaded.status_code, loaded.json()) == (201, {"name": "late", "is_configured": False, "num_ready": 1})
    session_id = (await http.post("/api/sessions", json={"adapter": "late"})).json()["id"]
    first = await say(cluster, session_id, "a", 7)
    cluster.engines[0].hold.clear()
    running = asyncio.create_task(say(cluster, session_id, "b", 8))
    async with asyncio.timeout(30):
        while not cluster.engines[0]._turns:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (await http.delete("/api/models/fake/adapters/late")).status_code == 204
    cluster.engines[0].hold.set()
    with pytest.raises(UnknownAdapter, match="^the model's adapter 'late' has been unloaded$"):
        await running
    with pytest.raises(UnknownAdapter, match="no adapter 'late'"):
        await say(cluster, session_id, "c", 8)
    assert (await http.post("/api/models/fake/adapters", json=body)).status_code == 201
    assert await say(cluster, session_id, "d", 8) == greedy([7, *first, 8], 5, "late")


async def test_a_program_chooses_an_adapter_for_a_context_its_forks_and_its_exports(cluster: SmallCluster) -> None:
    program = """
        @inferlet
        async def main(args: Args) -> list[list[int]]:
            context = get_auto_model().create_context(adapter="pirate")
            context.fill_tokens([7])
            await context.generate(stop=max_len(5))
            fork = context.fork()
            await context.export("kept")
            imported = get_auto_model().import_context("kept")
            for branch in (fork, imported):
                branch.fill_tokens([8])
                await branch.generate(stop=max_len(5))
            plain = get_auto_model().create_context()
            plain.fill_tokens([7])
            await plain.generate(stop=max_len(5))
            return [fork.tokens, imported.tokens, plain.tokens]
    """
    events = await all_events(await launched(cluster, program))
    first = [7, *greedy([7], 5, "pirate")]
    second = [*first, 8, *greedy([*first, 8], 5, "pirate")]
    assert isinstance(events[-1], Completed), events[-1]
    assert events[-1].value == [second, second, [7, *greedy([7], 5)]]


async def test_a_program_is_told_which_adapters_there_are(cluster: SmallCluster) -> None:
    program = """
        @inferlet
        async def main(args: Args) -> None:
            get_auto_model().create_context(adapter="polite")
    """
    events = await all_events(await launched(cluster, program))
    assert isinstance(events[-1], Failed)
    assert "the model has no adapter 'polite'; there are: formal, pirate" in events[-1].error
