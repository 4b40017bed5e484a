"""Kill -9 of all that a run needs, at random moments, on a real Ray cluster: it ends as the undisturbed one does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.actors.threads.caller import Caller, Event, Json, check
from tests.actors.threads.test_kills import normal
from tests.cluster.deployed import Deployed
from tests.cluster.test_agents import SOURCE
from tests.cluster.test_inferlet_deaths import kill_all, seeded

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]

VICTIMS = ("inferlet", "model", "journal", "gateway")
NUM_KILLS = 10
"""Of each victim. A run has two calls of tools, and an ask."""

REQUEST: Json = {"prompt": "Hello!", "tool_choice": ["note", "order", "none"], "limits": {"max_tokens": 400}}
PATIENCE_S = 120
ANSWERED = (202, 409)
"""One that was taken, though nobody was told so, is answered already."""


class Client:
    """Asks again, and comes back to a stream, where the gateway has gone."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=PATIENCE_S)
        self._caller = Caller(self.http)

    async def ask(self, method: str, path: str, body: Json | None = None, key: str = "") -> httpx.Response:
        while True:
            try:
                response = await self.http.request(method, path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                response = httpx.Response(httpx.codes.SERVICE_UNAVAILABLE)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            await asyncio.sleep(0.2)

    async def read(self, begun: Json, events: list[Event], came: asyncio.Condition) -> None:
        """The events of a run to its end; what it asks is approved."""
        while not events or events[-1].name != "run.ended":
            try:
                async for event in self._caller.stream(begun["stream_url"], events[-1].id if events else None):
                    async with came:
                        events.append(event)
                        came.notify_all()
                    block = event.data.get("block", {})
                    if event.name == "block.created" and block["kind"] == "ask":
                        body = {"answers": [{"ask_id": block["id"], "approve": True}]}
                        path = f"/api/runs/{begun['run_id']}/answers"
                        assert (await self.ask("POST", path, body)).status_code in ANSWERED
            except (httpx.TransportError, AssertionError) as error:
                if isinstance(error, AssertionError) and "503" not in str(error):
                    raise
                await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, its blocks without what differs each time, what its tools wrote, and how many were killed."""

    reason: str | None
    blocks: list[Json]
    written: list[str]
    num_events: int
    num_killed: int


async def worked(deployed: Deployed, client: Client, file: Path, victim: str = "", after: int = 0) -> Ended:
    """A run in a thread of its own, in which the victim dies when so many events have come."""
    await asyncio.to_thread(file.write_text, "")
    pids = await asyncio.to_thread(deployed.pids, victim) if victim and victim != "inferlet" else []
    begun = (await client.ask("POST", "/api/agents/clerk/async_prompt", REQUEST, key=f"k{random.random()}")).json()
    events: list[Event] = []
    came, num_killed = asyncio.Condition(), 0
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(client.read(begun, events, came))
        if victim == "inferlet":
            pids = await asyncio.to_thread(deployed.pids, victim, begun["thread_id"])
        if victim:
            async with came:
                await came.wait_for(lambda: len(events) > after or bool(events) and events[-1].name == "run.ended")
            num_killed = kill_all(pids)
    final = check(events, begun["run_id"])
    path = f"/api/threads/{begun['thread_id']}"
    query = f"run_id={begun['run_id']}&kinds={','.join({block['kind'] for block in final.values()})}&limit=1000"
    kept = (await client.ask("GET", f"{path}/blocks?{query}")).json()["blocks"]
    assert {block["id"]: block for block in kept} == final, "the reader has what is kept"
    assert (await client.ask("DELETE", path)).status_code == httpx.codes.NO_CONTENT
    reason, written = events[-1].data["run"]["reason"], (await asyncio.to_thread(file.read_text)).splitlines()
    return Ended(reason, normal(kept, begun["thread_id"]), written, len(events), num_killed)


@pytest.mark.parametrize("victim", VICTIMS)
def test_kills_at_random_moments_change_nothing_of_a_run(deployed: Deployed, tmp_path: Path, victim: str) -> None:
    chance, file = seeded(), tmp_path / "written.txt"

    async def scenario() -> None:
        client = Client(deployed.url)
        source = SOURCE.replace("{path!r}", repr(str(file)))
        assert (await client.ask("POST", "/api/agents", {"source": source})).status_code == httpx.codes.CREATED
        expected = await worked(deployed, client, file)
        assert [line.split()[0] for line in expected.written] == ["note", "order"]
        num_killed = num_lost = 0
        while num_killed < NUM_KILLS:
            ended = await worked(deployed, client, file, victim, chance.randrange(expected.num_events))
            num_killed += ended.num_killed
            assert len(set(ended.written)) == len(ended.written), "no tool runs twice"
            if ended.reason == "worker_lost":
                num_lost += 1  # while a tool ran, which is not safe to retry
            else:
                assert (ended.reason, ended.blocks, ended.written) == (
                    expected.reason,
                    expected.blocks,
                    expected.written,
                )
        print(f"{victim}: {num_killed} killed, {num_lost} runs lost with a tool")  # noqa: T201
        assert num_lost == 0 or victim == "inferlet"
        await client.http.aclose()

    asyncio.run(scenario())
