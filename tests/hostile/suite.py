"""The hostile suite against one deployed Greenroom: requests, frames, lives that are cut, and what is left of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any

import httpx

from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.native import say
from tests.cluster.three_turns import FIRST, SECOND, THIRD, undisturbed
from tests.hostile.census import Census
from tests.hostile.cycles import cycle
from tests.hostile.findings import Findings
from tests.hostile.frames import send_frames
from tests.hostile.requests import Targets, send_requests

PROGRAM = """
from api.inferlet import Args, inferlet, recv, send


@inferlet
async def echo(args: Args) -> None:
    while (message := await recv()) != "exit":
        send(message)
"""
NUM_TARGETS = 4
PARTS: dict[str, Callable[[Targets, int, int, Findings], Coroutine[Any, Any, None]]] = {
    "requests": send_requests,
    "frames": send_frames,
    "cycles": cycle,
}


def attack(
    deployed: Deployed, counts: Mapping[str, int], seed: int, rest_s: float, memory_share: float, max_wait_s: float = 10
) -> Findings:
    """Warm up with as much again, which fills caches, count what is held, do it all, rest, count again; then converse.

    Args:
        counts: how much of each of ``PARTS``.
    """
    findings = Findings(max_wait_s)
    asyncio.run(_run(deployed, {part: max(count, 40) for part, count in counts.items()}, seed + 1, findings))
    time.sleep(rest_s / 2)
    before = Census.take(deployed)
    asyncio.run(_run(deployed, counts, seed, findings))
    deadline = time.monotonic() + max(rest_s, 60)
    while (faults := Census.take(deployed).faults(before, memory_share)) and time.monotonic() < deadline:
        time.sleep(1)
    findings.faults += faults
    if asyncio.run(_converse(deployed.url)) != _expected():
        findings.faults.append("a greedy conversation afterwards is not what transformers says")
    return findings


@cache
def _expected() -> list[list[int]]:
    return undisturbed(MODEL)


async def _run(deployed: Deployed, counts: Mapping[str, int], seed: int, findings: Findings) -> None:
    async with httpx.AsyncClient(base_url=deployed.url, timeout=60) as client:
        for part, count in counts.items():
            targets = await _targets(client)
            await PARTS[part](targets, count, seed, findings)
            await _clear(client)


async def _targets(client: httpx.AsyncClient) -> Targets:
    sessions = [(await client.post("/api/sessions", json={})).json()["id"] for _ in range(NUM_TARGETS)]
    uploaded = (await client.post("/api/programs", json={"source": PROGRAM})).raise_for_status().json()["program"]
    launched = [(await client.post("/api/inferlets", json={"program": uploaded})).json() for _ in range(NUM_TARGETS)]
    ids = tuple(instance["id"] for instance in launched)
    return Targets(client.base_url.host, int(client.base_url.port or 80), tuple(sessions), ids, uploaded)


async def _clear(client: httpx.AsyncClient) -> None:
    """Close all that is open, the attack's own leavings included."""
    for kind in ("sessions", "inferlets"):
        for item in (await client.get(f"/api/{kind}")).raise_for_status().json()[kind]:
            await client.delete(f"/api/{kind}/{item['id']}")


async def _converse(url: str) -> list[list[int]]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        session_id = (await client.post("/api/sessions", json={})).raise_for_status().json()["id"]
        turns = [{**turn, "turn_id": uuid.uuid4().hex} for turn in (FIRST, SECOND, THIRD)]
        answers = [(await say(url, session_id, turn)).ids for turn in turns]
        await client.delete(f"/api/sessions/{session_id}")
    return answers
