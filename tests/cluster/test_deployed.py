"""What an operator and a client expect of a deployed Greenroom, over real Ray and real sockets."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from websockets.asyncio.client import ClientConnection, connect

from actors.cluster.greenroom import Greenroom
from actors.settings import NAMESPACE
from api.cluster import Retention, SessionOptions
from api.turns import Message, Stop, Tokens, TurnRequest
from tests.cluster.deployed import Deployed, processes
from tests.cluster.native import say

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def turn(prompt: int, count: int = 8) -> TurnRequest:
    tokens = Tokens(tuple(300 + (prompt * 31 + index) % 500 for index in range(40)))
    return TurnRequest(uuid.uuid4().hex, (tokens,), stop=Stop(count, at_eos=False))


async def ids(stream: Any) -> list[int]:
    return [id async for frame in stream for id in frame.ids]


def test_a_second_turn_finds_its_context_resident_or_refills_it_by_policy(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> dict[str, int]:
        found = {}
        for policy in ("keep", "drop", "adaptive", "predictive"):
            retention = Retention(policy, threshold=16)
            session = await greenroom.open_session(SessionOptions(retention=retention))
            await ids(await session.begin(turn(1)))
            stream = await session.begin(turn(2))
            found[policy] = stream.start.num_resident
            await ids(stream)
            await session.close()
        return found

    found = deployed.run(scenario)
    assert found == {"keep": 47, "adaptive": 47, "drop": 0, "predictive": 0}


def test_every_socket_at_every_gateway_hears_of_a_turn(several: Deployed) -> None:
    """Twelve sockets over three gateways; after each turn the session's process dies."""

    async def told(socket: ClientConnection) -> tuple[str, list[int]]:
        """The next turn that this socket tells of, from its start to its end."""
        found: list[int] = []
        started = json.loads(await socket.recv())
        assert started["type"] == "started"
        while (message := json.loads(await socket.recv()))["type"] != "finished":
            assert (message["turn_id"], message["offset"]) == (started["turn_id"], len(found))
            found += message["ids"]
        return started["turn_id"], found

    async def scenario(greenroom: Greenroom) -> list[set[tuple[str, tuple[int, ...]]]]:
        session = await greenroom.open_session(SessionOptions())
        address = f"{several.url.replace('http', 'ws')}/api/sessions/{session.session_id}"
        heard = []
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(connect(address)) for _ in range(12)]
            for socket in sockets:
                await socket.send('{"type": "ping"}')
                assert json.loads(await socket.recv()) == {"type": "pong"}
            for number in range(3):
                prompt = {"type": "generate", "turn_id": f"{number}", "messages": [{"role": "user", "content": "Hi"}]}
                await sockets[number].send(json.dumps(prompt))
                async with asyncio.timeout(60):
                    answers = await asyncio.gather(*(told(socket) for socket in sockets))
                heard.append({(turn_id, tuple(ids)) for turn_id, ids in answers})
                several.kill("session", session.session_id)
        return heard

    heard = several.run(scenario)
    assert [[turn_id for turn_id, _ in turns] for turns in heard] == [["0"], ["1"], ["2"]]
    assert all(ids for turns in heard for _, ids in turns)


def test_a_predictive_context_is_filled_when_its_user_types(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> int:
        session = await greenroom.open_session(SessionOptions(retention=Retention("predictive")))
        await ids(await session.begin(turn(1)))
        await session.typing()
        async with asyncio.timeout(60):
            while (await session.describe()).num_resident < 47:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        stream = await session.begin(turn(2))
        await ids(stream)
        return stream.start.num_resident

    assert deployed.run(scenario) >= 47, "all, or all but the last sampled token"


def test_retention_is_counted_by_policy_in_prometheus(deployed: Deployed) -> None:
    import ray

    port = ray.nodes()[0]["MetricsExportPort"]

    def text() -> str:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

    def counted() -> bool:
        names = (
            "ray_greenroom_time_to_first_token_seconds",
            "ray_greenroom_time_per_token_seconds",
            "ray_greenroom_context_turns_total",
            "ray_greenroom_kv_cache_use_ratio",
            "ray_greenroom_turns_waiting",
            "ray_greenroom_sessions",
            "ray_greenroom_activations_total",
        )
        return all(name in text() for name in names)

    deployed.wait(counted, 60)
    assert "session_id=" not in text()


def test_opening_a_session_is_a_call_not_a_process_start(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> None:
        sessions = []
        for _ in range(2):
            before = set(await asyncio.to_thread(_free_pids, deployed))
            session = await greenroom.open_session(SessionOptions())
            sessions.append(session)
            pid = await asyncio.to_thread(deployed.pids, "session", session.session_id)
            assert set(pid) <= before, "the actor had been started before"
        for session in sessions:
            await session.close()

    deployed.run(scenario)


def test_a_turn_on_one_machine_is_called_past_ray(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> list[int]:
        session = await greenroom.open_session(SessionOptions())
        await ids(await session.begin(turn(1)))
        connected = [_num_connections(name) for name in ("journal", "directory")]
        await session.close()
        return connected

    journal, directory = deployed.run(scenario)
    assert journal >= 2, "the directory's and a session's"
    assert directory >= 2, "this process's and the model actor's"


def _num_connections(name: str) -> int:
    """Of processes of this machine to a named actor."""
    mark = f"@greenroom-{ray.get_actor(name, namespace=NAMESPACE)._actor_id.hex()}"
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(mark)]
    return sum(fields[5] == _CONNECTED for fields in sockets)


_CONNECTED = "03"
"""The state of a socket, in ``/proc/net/unix``."""


def test_an_http_request_without_a_session_starts_no_actor(deployed: Deployed) -> None:
    _free_pids(deployed)
    before = processes("ray::HostedSession")
    data = {"inputs": "Hello", "max_new_tokens": 4}
    answers = [httpx.post(deployed.url + "/api/v1/generate", data=data, timeout=60).json() for _ in range(5)]
    assert all(answer["ok"] for answer in answers)
    assert len({answer["outputs"] for answer in answers}) == 1
    time.sleep(1.5)
    assert set(processes("ray::HostedSession")) <= set(before)


def test_a_turn_goes_on_when_its_socket_closes_and_a_second_socket_gets_the_rest(deployed: Deployed) -> None:
    async def conversation() -> tuple[list[int], list[int]]:
        session_id = await _open(deployed)
        generate = {
            "turn_id": "one",
            "tokens": list(range(300, 340)),
            "max_tokens": 80,
            "sampling": {"logit_bias": {"1": -100}},
        }
        address = deployed.url.replace("http", "ws") + f"/api/sessions/{session_id}"
        seen: list[int] = []
        async with connect(address) as socket:
            await socket.send(json.dumps({"type": "generate", **generate}))
            while len(seen) < 10:
                message = json.loads(await socket.recv())
                seen += message.get("ids", [])
        async with connect(address) as socket:
            await socket.send(json.dumps({"type": "resume", "turn_id": "one", "offset": len(seen)}))
            while True:
                message = json.loads(await socket.recv())
                if message["type"] == "tokens":
                    assert message["offset"] == len(seen)
                    seen += message["ids"]
                if message["type"] == "finished":
                    break
        return seen, (await say(deployed.url, await _open(deployed), generate)).ids

    seen, undisturbed = asyncio.run(conversation())
    assert seen == undisturbed
    assert len(seen) == 80


def test_an_idle_session_expires_and_its_context_is_freed(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> None:
        session = await greenroom.open_session(SessionOptions(idle_timeout_s=6))
        await ids(await session.begin(turn(1)))
        placement = await greenroom.directory.place(None, session.session_id)
        assert await placement.model.residency(session.session_id) is not None
        async with asyncio.timeout(90):
            while await placement.model.residency(session.session_id) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while session.session_id in {summary.session_id for summary in await greenroom.sessions()}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    deployed.run(scenario)


def test_a_session_needs_its_own_key(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> str:
        session = await greenroom.open_session(SessionOptions(), "ann")
        return session.session_id

    session_id = deployed.run(scenario)
    assert httpx.get(f"{deployed.url}/api/sessions/{session_id}").status_code == 404


def test_a_conversation_with_the_embedded_model_keeps_its_text_whole(deployed: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> None:
        session = await greenroom.open_session(SessionOptions())
        request = TurnRequest("a", (Message("user", "Hello!"),), stop=Stop(40))
        frames = [frame async for frame in await session.begin(request)]
        description = await session.describe()
        assert description.turns[0].text == "".join(frame.text for frame in frames)
        assert "�" not in description.turns[0].text
        await session.close()

    deployed.run(scenario)


async def _open(deployed: Deployed) -> str:
    async with httpx.AsyncClient(base_url=deployed.url, timeout=60) as client:
        return str((await client.post("/api/sessions", json={})).json()["id"])


def _free_pids(deployed: Deployed) -> list[int]:
    """Processes that wait for a session, once there are as many as there should be."""
    deployed.wait(lambda: len(deployed.pids("session")) >= deployed.fields["sessions"]["pool_size"], 120)
    return deployed.pids("session")
