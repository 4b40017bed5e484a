"""Runs in which a part of the cluster dies at a random moment: they end as the undisturbed ones do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import httpx
import pytest

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.caller import Caller, Event, Json, calling, check
from tests.actors.threads.test_children import ALL, asking
from tests.actors.threads.test_promises import ADD, called

Victim = Literal["thread", "model", "journal", "directory", "gateway", "connection"]
VICTIMS: tuple[Victim, ...] = ("thread", "model", "journal", "directory", "gateway", "connection")
NUM_MOMENTS = 20
"""For each victim and each scenario, in the slow tests."""
GONE = (httpx.TransportError, RuntimeError)
"""What a client is told of a gateway that has ended, and of itself once it was closed."""
MAX_TURNS_OF_LOOP = 40
"""How many turns of the event loop after an event a moment might be."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A prompt for an agent. ``executed`` is what its tools must have recorded, each once."""

    agent: str
    prompt: str
    num_children: int
    executed: tuple[str, ...]


TOOLS = f"{ADD}\n{called('pay', amount=20)}"
PLAIN = Scenario("helper", TOOLS, 0, ("add 1 2", "pay 20"))
DELEGATED = Scenario("boss", f"{asking('expert', TOOLS)}\n{called('transfer_to_teller')}", 1, ("add 1 2", "pay 20"))


@dataclass(frozen=True, slots=True)
class Moment:
    """When this number of events has come, and the event loop has then turned this often."""

    num_events: int
    num_turns: int


class Gateways:
    """One at a time; ``replace`` cuts off all that it serves."""

    def __init__(self, small: SmallCluster) -> None:
        self._small = small
        self._stack = AsyncExitStack()
        self.caller: Caller

    async def replace(self) -> None:
        """End it and start another one elsewhere."""
        await self._stack.aclose()
        self.caller = await self._stack.enter_async_context(calling(self._small))

    async def stop(self) -> None:
        """End it."""
        await self._stack.aclose()

    async def ask(self, method: str, path: str, body: Json | None = None, **options: Any) -> httpx.Response:
        """An answer; asked for again where the gateway has gone."""
        while True:
            try:
                return await self.caller.http.request(method, path, json=body, **options)
            except GONE:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def gateways(small: SmallCluster) -> AsyncIterator[Gateways]:
    at = Gateways(small)
    await at.replace()
    try:
        yield at
    finally:
        await at.stop()


class Clients(Protocol):
    """What a reader needs of the gateways that it reads from."""

    @property
    def caller(self) -> Caller:
        """Of the one that is there."""
        ...

    async def ask(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        """An answer; asked for again where the gateway has gone."""
        ...


class Reader:
    """Reads a run to its end, answers what it asks, and comes back where its connection was cut.

    Attributes:
        num_connections: how often it came.
    """

    def __init__(self, at: Clients, begun: Json) -> None:
        self.events: list[Event] = []
        self.came = asyncio.Condition()
        self.num_connections = 0
        self._at = at
        self._run_id = begun["run_id"]
        self._url = begun["stream_url"] + "&children=true"
        self._reading: asyncio.Task[None] | None = None
        self._answering: list[asyncio.Task[None]] = []

    def cut(self) -> None:
        """Cut its connection."""
        if self._reading:
            self._reading.cancel()

    async def read(self) -> None:
        """To the end of the run."""
        while not self.is_over:
            self._reading = asyncio.create_task(self._read())
            await asyncio.wait({self._reading})
            if not self._reading.cancelled():
                self._reading.result()
        await asyncio.gather(*self._answering)
        async with self.came:
            self.came.notify_all()

    @property
    def is_over(self) -> bool:
        """The run has ended."""
        last = self.events[-1] if self.events else None
        return last is not None and last.name == "run.ended" and last.data["run"]["id"] == self._run_id

    async def _read(self) -> None:
        self.num_connections += 1
        last_id = self.events[-1].id if self.events else None
        try:
            async for event in self._at.caller.stream(self._url, last_id):
                async with self.came:
                    self.events.append(event)
                    self.came.notify_all()
                block = event.data.get("block", {})
                if event.name == "block.created" and block["kind"] == "ask":
                    self._answering.append(asyncio.create_task(self._answer(block["id"])))
        except (*GONE, httpx.HTTPStatusError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != 503:
                raise
            await asyncio.sleep(0.01)

    async def _answer(self, ask_id: str) -> None:
        body = {"answers": [{"ask_id": ask_id, "approve": True}]}
        response = await self._at.ask("POST", f"/api/runs/{self._run_id}/answers", body)
        assert response.status_code in (202, 409), "one that was taken, though nobody was told so, is answered"


async def die(victim: Victim, small: SmallCluster, at: Gateways, reader: Reader, thread_id: str) -> None:
    """Kill -9 a part of the cluster, and start what does not come back by itself."""
    match victim:
        case "thread":
            small.kill_inferlet(thread_id)
        case "model":
            small.kill_model()
            await small.start_model(0)
        case "journal":
            await small.restart_journal()
        case "directory":
            small.restart_directory()
        case "gateway":
            await at.replace()
        case "connection":
            reader.cut()


@dataclass(frozen=True, slots=True)
class Ended:
    """Why runs ended, their blocks without what differs from time to time, and what their tools recorded."""

    reasons: set[str | None]
    blocks: list[Json]
    executed: list[str]
    num_events: int
    num_connections: int


async def worked(
    small: SmallCluster, at: Gateways, scenario: Scenario, victim: Victim | None = None, moment: Moment | None = None
) -> Ended:
    """A run of the scenario in a thread of its own, in which the victim dies at the moment."""
    RECORDED.clear()
    begun = (await at.ask("POST", f"/api/agents/{scenario.agent}/async_prompt", {"prompt": scenario.prompt})).json()
    reader = Reader(at, begun)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(reader.read())
        if victim and moment:
            async with reader.came:
                await reader.came.wait_for(lambda: len(reader.events) >= moment.num_events or reader.is_over)
            for _ in range(moment.num_turns):
                await asyncio.sleep(0)
            await die(victim, small, at, reader, begun["thread_id"])
    ends = [event.data["run"] for event in reader.events if event.name == "run.ended"]
    final = check(reader.events, begun["run_id"], len(ends) - 1)
    query = f"run_id={begun['run_id']}&children=true&kinds={ALL}&limit=1000"
    kept = (await at.ask("GET", f"/api/threads/{begun['thread_id']}/blocks?{query}")).json()["blocks"]
    assert {block["id"]: block for block in kept} == final, "the reader has what is kept"
    blocks, reasons = normal(kept, begun["thread_id"]), {run["reason"] for run in ends}
    return Ended(reasons, blocks, sorted(RECORDED), len(reader.events), reader.num_connections)


VARYING = ("id", "seq", "created_at", "closed_at")


def normal(blocks: list[Json], thread_id: str) -> list[Json]:
    """Without ids, positions and times, which differ; calls that run at once have no order among them."""
    found = [
        {name: value for name, value in block.items() if name not in VARYING}
        | {
            "run_id": block["run_id"].removeprefix(thread_id),
            "parent_run_id": (block["parent_run_id"] or "").removeprefix(thread_id),
            "answer": block["answer"] and block["answer"] | {"at": 0},
        }
        for block in blocks
    ]
    return sorted(found, key=lambda one: (one["run_id"], one["turn"], one["kind"], str(one["call_id"]), str(one)))


@pytest.mark.parametrize("scenario", [PLAIN, DELEGATED], ids=["plain", "delegated"])
@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(VICTIMS, id="each"),
        *(pytest.param((victim,) * NUM_MOMENTS, id=victim, marks=pytest.mark.slow) for victim in VICTIMS),
    ],
)
async def test_a_death_at_a_random_moment_changes_nothing(
    small: SmallCluster, scenario: Scenario, victims: tuple[Victim, ...]
) -> None:
    seed, num_lost = random.randrange(1 << 32), 0
    draw = random.Random(seed)
    async with gateways(small) as at:
        expected = await worked(small, at, scenario)
        assert expected.reasons == {None}
        assert expected.executed == sorted(scenario.executed)
        for victim in victims:
            moment = Moment(draw.randrange(expected.num_events), draw.randrange(MAX_TURNS_OF_LOOP))
            ended = await worked(small, at, scenario, victim, moment)
            told = f"seed {seed}: {victim} at {moment}"
            assert len(set(ended.executed)) == len(ended.executed), told
            assert ended.num_connections == 1 or victim in ("gateway", "connection"), told
            if victim == "thread" and "worker_lost" in ended.reasons:
                num_lost += 1  # a tool had begun, which is not run again
                continue
            assert ended.reasons == {None}, told
            assert ended.blocks == expected.blocks, told
            assert ended.executed == expected.executed, told
    assert num_lost <= len(victims) / 2, "most moments are between two calls"


async def test_a_run_waits_for_its_model_where_the_directory_has_not_heard_of_it_yet(small: SmallCluster) -> None:
    small.kill_model()
    small.restart_directory()
    async with calling(small) as caller:
        cancelled = await caller.begin("say one")
        await caller.ask("POST", f"/api/runs/{cancelled['run_id']}/cancel", {}, 202)
        assert (await caller.wait(cancelled["run_id"]))["state"] == "cancelled"
        begun = await caller.begin("say two", cancelled["thread_id"])
        assert (await caller.wait(begun["run_id"], timeout_s=0.0))["state"] == "running"
        await small.start_model(0)
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
