"""Kill -9 of what a cluster has one of, under load: nothing is lost or doubled, and everything goes on.

Two Ray nodes, with a journal in PostgreSQL and what Ray knows in Redis. One of these dies while sixteen clients are
told tokens, two programs run, a run of an agent waits for an answer, and a response is stored: the GCS, which is
started again after two seconds; the head's whole node, in whose place another is started on the same Redis; the other
node, likewise; PostgreSQL, for thirty seconds.

``NUM_KILLS=10 pytest -s -m 'cluster and slow' tests/cluster/test_head_deaths.py``
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import pytest
import yaml

from api.client import Client
from api.client.instance import ClientInstance
from api.inferlet_events import Completed
from tests import postgres
from tests.actors.threads.caller import Json
from tests.actors.threads.test_kills import normal
from tests.cluster.deployed import MODEL, free_port
from tests.cluster.native import Answer, say
from tests.cluster.own_ray import own_folder
from tests.cluster.ray_nodes import ROOT, environment_of, head, worker
from tests.cluster.test_agents import SOURCE
from tests.cluster.three_turns import FIRST, NUM_TOKENS, SECOND, THIRD, undisturbed
from tests.redis_server import redis_server

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(7200)]

Victim = Literal["gcs", "head", "worker", "database"]

NUM_KILLS = int(os.environ.get("NUM_KILLS", "3"))
NUM_STREAMS = 16
GCS_AWAY_S, DATABASE_AWAY_S = 2.0, 30.0
PATIENCE_S = 300.0
KEY = secrets.token_hex(16)
HEADERS = {"Authorization": f"Bearer {KEY}"}

NAMES = (
    "Quillon",
    "Ada",
    "Ben",
    "Cora",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hal",
    "Ida",
    "Jon",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Uma",
)
COUNTER = """
import asyncio
from api.inferlet import inferlet, send

@inferlet
async def main(args):
    for number in range(100):
        send(number)
        await asyncio.sleep(0.1)
    return "counted"
"""
ANSWERER = """
import asyncio
from api.inferlet import Sampler, get_auto_model, inferlet, max_len, send

@inferlet
async def main(args):
    context = get_auto_model().create_context()
    for number in range(12):
        context.fill_user(f"What is {number} plus 3?")
        send(await context.generate(Sampler.greedy(), max_len(24)))
        await asyncio.sleep(0.5)
    return context.length
"""
PROMPT: Json = {"prompt": "Hello!", "tool_choice": ["order", "none"], "limits": {"max_tokens": 400}}
RESPONSE: Json = {"model": "pocket", "input": "Hello! My name is Ada.", "temperature": 0, "max_output_tokens": 12}


class Cluster:
    """Two nodes, their stores and a Greenroom; ``url`` is that of its gateways."""

    def __init__(self, folder: Path, redis_url: str, password: str, database: postgres.Server) -> None:
        self._folder, self._redis, self._password, self._database = folder, redis_url, password, database
        self._ray_port, port = free_port(), free_port()
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._environment = environment_of(folder, **token)
        self.url = f"http://127.0.0.1:{port}"
        self.settings = {
            "models": [{"name": "pocket", "path": MODEL, "num_replicas": 2}],
            "journal": {"url": database.new_database()},
            "listen": {"host": "0.0.0.0", "port": port},
            "num_gateways": 2,
            "sessions": {"pool_size": 4},
            "api": {"api_keys": [{"key": KEY, "owner": "ada"}], "allow_upload": True, "owner_share": 1.0},
            "recovery_timeout_s": 240,
        }
        self.start_head()
        self.start_worker()

    def start_head(self) -> None:
        """A new one."""
        self.head = head(self._folder, self._ray_port, self._redis, self._password, self._environment)
        self.head.start()

    def start_worker(self) -> None:
        """A new one."""
        self.worker = worker(self._folder, self._ray_port, self._environment)
        self.worker.start()

    def deploy(self) -> None:
        """As an operator does."""
        file = self._folder / "cluster.yaml"
        file.write_text(yaml.safe_dump(self.settings))
        command = (sys.executable, "-m", "deployments.cli", "deploy", str(file))
        environment = {**self._environment, "RAY_ADDRESS": f"127.0.0.1:{self._ray_port}"}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self, victim: Victim) -> None:
        """Kill -9, and start again."""
        match victim:
            case "gcs":
                self.head.kill_gcs()
                time.sleep(GCS_AWAY_S)
                self.head.start_gcs()
            case "head":
                self.head.kill()
                self.start_head()
            case "worker":
                self.worker.kill()
                self.start_worker()
            case "database":
                process = psutil.Process(self._database.pid)
                process.kill()
                process.wait()
                time.sleep(DATABASE_AWAY_S)
                self._database.start()

    def places(self) -> str:
        """Where what there is one of runs, for people."""
        titles = ("ray::HostedJournal", "ray::HostedDirectory", "ray::HostedBroker", "ray::ServeController")
        return ", ".join(
            f"{title.removeprefix('ray::')} on the {name}"
            for title in titles
            for name, node in (("head", self.head), ("worker", self.worker))
            if node.runs(title)
        )

    def stop(self) -> None:
        """End both nodes."""
        self.worker.kill()
        self.head.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    password = secrets.token_hex(8)
    with own_folder() as folder, postgres.server() as database, redis_server(password) as redis_url:
        one = Cluster(folder, redis_url, password, database)
        try:
            one.deploy()
            yield one
        finally:
            one.stop()


@dataclass(frozen=True)
class Seen:
    """What all clients saw of a round, and how long each stream's longest wait was.

    Attributes:
        fresh_s: from the kill until a session that was opened after it had answered.
    """

    ids: list[list[list[int]]]
    programs: list[list[Any]]
    run: tuple[str, list[Json], list[str]]
    waits: list[float]
    fresh_s: float


class Clients:
    """Come again where a gateway has gone, or says that something is not there now."""

    def __init__(self, cluster: Cluster, http: httpx.AsyncClient, client: Client, file: Path) -> None:
        self._cluster, self._http, self._client, self._file = cluster, http, client, file

    async def ask(self, method: str, path: str, body: Json | None = None, key: str = "") -> Any:
        """The answer's body."""
        headers = {"Idempotency-Key": key} if key else {}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    response = await self._http.request(method, path, json=body, headers=headers)
                    if response.status_code not in (429, 503):
                        assert response.is_success, response.text
                        return response.json() if response.content else None
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)

    async def round(self, victim: Victim | None) -> Seen:
        """Everything once, with the victim killed in the middle of the second turns."""
        stored = await self.ask("POST", "/v1/responses", RESPONSE)
        await asyncio.to_thread(self._file.write_text, "")
        begun = await self.ask("POST", "/api/agents/clerk/async_prompt", PROMPT, uuid.uuid4().hex)
        ask_id = await self._asked(begun)
        sessions = [(await self.ask("POST", "/api/sessions", {}))["id"] for _ in range(NUM_STREAMS)]
        programs = [await self._launched(source) for source in (COUNTER, ANSWERER)]
        answers = [[Answer() for _ in range(3)] for _ in sessions]
        fresh_s = 0.0
        async with asyncio.TaskGroup() as group:
            for number, (session_id, answer) in enumerate(zip(sessions, answers, strict=True)):
                group.create_task(self._converse(session_id, number, answer))
            told = [group.create_task(_events(program)) for program in programs]
            if victim:
                await _has(answers[0][1], random.randrange(1, NUM_TOKENS))
                killed_at = time.monotonic()
                killing = group.create_task(asyncio.to_thread(self._cluster.kill, victim))
                await self._fresh()
                fresh_s = time.monotonic() - killed_at
                await killing
        await self.ask(
            "POST", f"/api/runs/{begun['run_id']}/answers", {"answers": [{"ask_id": ask_id, "approve": True}]}
        )
        ended = await self._ended(begun)
        again = await self.ask("GET", f"/v1/responses/{stored['id']}")
        assert [again[name] for name in ("output", "usage")] == [stored[name] for name in ("output", "usage")]
        for session_id in sessions:
            await self.ask("DELETE", f"/api/sessions/{session_id}")
        waits = [max(answer.pause_s for answer in three) for three in answers]
        ids = [[answer.ids for answer in three] for three in answers]
        return Seen(ids, [task.result() for task in told], ended, waits, fresh_s)

    async def _converse(self, session_id: str, number: int, answers: list[Answer]) -> None:
        for turn, answer in zip(turns_of(number), answers, strict=True):
            turn = {**turn, "turn_id": uuid.uuid4().hex}
            await say(self._cluster.url, session_id, turn, answer, PATIENCE_S, HEADERS)

    async def _fresh(self) -> None:
        session_id = (await self.ask("POST", "/api/sessions", {}))["id"]
        turn = {**FIRST, "turn_id": uuid.uuid4().hex}
        await say(self._cluster.url, session_id, turn, None, PATIENCE_S, HEADERS)
        await self.ask("DELETE", f"/api/sessions/{session_id}")

    async def _launched(self, source: str) -> ClientInstance:
        program = (await self.ask("POST", "/api/programs", {"source": source, "file": "main.py"}))["program"]
        return await self._client.launch_instance(program)

    async def _asked(self, begun: Json) -> str:
        """The id of what the run waits for."""
        await self.ask("GET", f"/api/runs/{begun['run_id']}/wait?timeout_s=60")
        blocks = (await self.ask("GET", f"/api/threads/{begun['thread_id']}/blocks?kinds=ask"))["blocks"]
        return str(blocks[0]["id"])

    async def _ended(self, begun: Json) -> tuple[str, list[Json], list[str]]:
        """How the run ended, its blocks without what differs each time, and what its tools wrote."""
        async with asyncio.timeout(PATIENCE_S):
            while (run := await self._run(begun))["state"] in ("waiting", "running", "queued"):
                pass
        kinds = "kinds=message,tool_call,tool_result,ask"
        blocks = (await self.ask("GET", f"/api/threads/{begun['thread_id']}/blocks?{kinds}&limit=1000"))["blocks"]
        written = (await asyncio.to_thread(self._file.read_text)).splitlines()
        await self.ask("DELETE", f"/api/threads/{begun['thread_id']}")
        return run["state"], normal(blocks, begun["thread_id"]), written

    async def _run(self, begun: Json) -> Json:
        found: Json = (await self.ask("GET", f"/api/runs/{begun['run_id']}/wait?timeout_s=10"))["run"]
        return found


def turns_of(number: int) -> tuple[Json, Json, Json]:
    """Of each stream others."""
    first = {**FIRST, "messages": [{"role": "user", "content": f"Hello! My name is {NAMES[number]}."}]}
    return first, {**SECOND, "messages": [{"role": "user", "content": f"Please count from 1 to {5 + number}."}]}, THIRD


async def _events(program: ClientInstance) -> list[Any]:
    async with asyncio.timeout(PATIENCE_S):
        return [(type(event), value) async for event, value in program]


async def _has(answer: Answer, num_tokens: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(answer.ids) < num_tokens:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def expected(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What all see where nothing dies; of the streams it is what plain transformers says."""
    seen = _rounds(cluster, tmp_path_factory.mktemp("written"), None, 1)[0]
    assert seen.ids == [undisturbed(MODEL, turns_of(number)) for number in range(NUM_STREAMS)]
    assert [value for _, value in seen.programs[0]] == [*range(100), "counted"]
    assert seen.programs[1][-1][0] is Completed
    assert len(seen.run[2]) == 1
    return seen


def _rounds(cluster: Cluster, folder: Path, victim: Victim | None, number: int) -> list[Seen]:
    file = folder / "written.txt"

    async def run() -> list[Seen]:
        async with (
            httpx.AsyncClient(base_url=cluster.url, timeout=60, headers=HEADERS) as http,
            Client(cluster.url, KEY, patience_s=PATIENCE_S) as client,
        ):
            clients, found = Clients(cluster, http, client, file), []
            await clients.ask("POST", "/api/agents", {"source": SOURCE.replace("{path!r}", repr(str(file)))})
            for _ in range(number):
                print(await asyncio.to_thread(cluster.places))  # noqa: T201
                found.append(seen := await clients.round(victim))
                median, worst = statistics.median(seen.waits), max(seen.waits)
                print(f"{victim}: next token {median:.1f} s, worst {worst:.1f} s; new session {seen.fresh_s:.1f} s")  # noqa: T201
            return found

    return asyncio.run(run())


@pytest.mark.parametrize("victim", ["gcs", "head", "worker", "database"])
def test_a_death_under_load_changes_nothing(cluster: Cluster, expected: Seen, tmp_path: Path, victim: Victim) -> None:
    found = _rounds(cluster, tmp_path, victim, NUM_KILLS)
    for seen in found:
        assert seen.ids == expected.ids
        assert seen.programs == expected.programs
        assert seen.run == expected.run
    waits, fresh = [wait for seen in found for wait in seen.waits], [seen.fresh_s for seen in found]
    print(  # noqa: T201
        f"{NUM_KILLS} deaths of the {victim}: time to the next token of {NUM_STREAMS} streams, median "
        f"{statistics.median(waits):.1f} s, worst {max(waits):.1f} s; until a new session has answered, median "
        f"{statistics.median(fresh):.1f} s, worst {max(fresh):.1f} s"
    )
