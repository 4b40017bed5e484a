"""Kill -9 of all that a run needs, at random moments, on a real Ray cluster: it ends as the undisturbed one does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.actors.threads.caller import Caller, Json, check
from tests.actors.threads.test_kills import GONE, Reader, normal
from tests.cluster.deployed import Deployed
from tests.cluster.test_agents import SOURCE
from tests.cluster.test_inferlet_deaths import kill_all, seeded

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

VICTIMS = ("inferlet", "model", "journal", "gateway")
NUM_KILLS = 10
"""Of each victim. A run has two calls of tools, and an ask."""

REQUEST: Json = {"prompt": "Hello!", "tool_choice": ["note", "order", "none"], "limits": {"max_tokens": 400}}
PATIENCE_S = 120


class Client:
    """Asks again where the gateway has gone."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.caller = Caller(http)

    async def ask(self, method: str, path: str, body: Json | None = None, **options: Any) -> httpx.Response:
        while True:
            try:
                response = await self.caller.http.request(method, path, json=body, **options)
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return response
            except GONE:
                pass
            await asyncio.sleep(0.2)


@asynccontextmanager
async def client(deployed: Deployed) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=deployed.url, timeout=PATIENCE_S) as http:
        yield Client(http)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, its blocks without what differs each time, what its tools wrote, and how many were killed."""

    reason: str | None
    blocks: list[Json]
    written: list[str]
    num_events: int
    num_killed: int


async def worked(deployed: Deployed, at: Client, file: Path, victim: str = "", num_before: int = 0) -> Ended:
    """A run in a thread of its own, in which the victim dies when more than this number of events has come."""
    await asyncio.to_thread(file.write_text, "")
    pids = await asyncio.to_thread(deployed.pids, victim) if victim and victim != "inferlet" else []
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    begun = (await at.ask("POST", "/api/agents/clerk/async_prompt", REQUEST, headers=headers)).json()
    reader, num_killed = Reader(at, begun), 0
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(reader.read())
        if victim == "inferlet":
            pids = await asyncio.to_thread(deployed.pids, victim, begun["thread_id"])
        if victim:
            async with reader.came:
                await reader.came.wait_for(lambda: len(reader.events) > num_before or reader.is_over)
            num_killed = kill_all(pids)
    final = check(reader.events, begun["run_id"])
    path = f"/api/threads/{begun['thread_id']}"
    query = f"run_id={begun['run_id']}&kinds={','.join({block['kind'] for block in final.values()})}&limit=1000"
    kept = (await at.ask("GET", f"{path}/blocks?{query}")).json()["blocks"]
    assert {block["id"]: block for block in kept} == final, "the reader has what is kept"
    assert (await at.ask("DELETE", path)).status_code == httpx.codes.NO_CONTENT
    reason, written = reader.events[-1].data["run"]["reason"], (await asyncio.to_thread(file.read_text)).splitlines()
    return Ended(reason, normal(kept, begun["thread_id"]), written, len(reader.events), num_killed)


@pytest.mark.parametrize("victim", VICTIMS)
def test_kills_at_random_moments_change_nothing_of_a_run(deployed: Deployed, tmp_path: Path, victim: str) -> None:
    chance, file = seeded(), tmp_path / "written.txt"

    async def scenario(at: Client) -> None:
        source = SOURCE.replace("{path!r}", repr(str(file)))
        assert (await at.ask("POST", "/api/agents", {"source": source})).status_code == httpx.codes.CREATED
        expected = await worked(deployed, at, file)
        assert [line.split()[0] for line in expected.written] == ["note", "order"]
        num_killed = num_lost = 0
        while num_killed < NUM_KILLS:
            ended = await worked(deployed, at, file, victim, chance.randrange(expected.num_events))
            num_killed += ended.num_killed
            assert len(set(ended.written)) == len(ended.written), "no tool runs twice"
            if victim == "inferlet" and ended.reason == "worker_lost":
                num_lost += 1  # a tool had begun, which is not run again
                continue
            assert ended.reason == expected.reason
            assert ended.blocks == expected.blocks
            assert ended.written == expected.written
        print(f"{victim}: {num_killed} killed, {num_lost} runs lost with a tool")  # noqa: T201
        assert num_lost <= NUM_KILLS / 2, "most moments are between two calls"

    async def main() -> None:
        async with client(deployed) as at:
            await scenario(at)

    asyncio.run(main())
