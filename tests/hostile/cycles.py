"""Every kind of socket, stream, session, fork and subscription, opened and aborted at random moments."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from typing import Any

import httpx

from tests.hostile.findings import Findings
from tests.hostile.frames import frame, open_socket
from tests.hostile.requests import CONCURRENCY, Targets

KINDS = ("session", "fork", "turn", "petals socket", "petals session", "inferlet socket", "events", "topic", "call")
MAX_LIFE_S = 0.15
TURN = {"type": "generate", "text": "Hello!", "max_tokens": 50}
PETALS = [
    {"type": "open_inference_session", "model": "pocket", "max_length": 128},
    {"type": "generate", "inputs": "hi", "max_new_tokens": 40},
]


async def cycle(targets: Targets, count: int, seed: int, findings: Findings) -> None:
    """Run this number of lives, some of them at a time, each of a random kind and a random length."""
    draw, left = random.Random(seed), iter(range(count))
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=f"http://{targets.host}:{targets.port}", timeout=30, limits=limits) as client:

        async def worker() -> None:
            for _ in left:
                kind = draw.choice(KINDS)
                findings.counts[kind] += 1
                with suppress(ConnectionError, httpx.TransportError):
                    await live(kind, client, targets, draw, findings)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(worker())


async def live(kind: str, client: httpx.AsyncClient, targets: Targets, draw: random.Random, findings: Findings) -> None:
    """One life from opening to abort."""
    session, instance = draw.choice(targets.sessions), draw.choice(targets.instances)
    life_s = draw.uniform(0, MAX_LIFE_S)
    if kind in ("session", "fork"):
        answer = await client.post("/api/sessions" if kind == "session" else f"/api/sessions/{session}/fork", json={})
        _judge(answer, findings)
        if answer.is_success:
            opened = answer.json()["id"]
            if draw.random() < 0.5:
                await _talk(f"/api/sessions/{opened}", [TURN], life_s, targets, draw, findings)
            _judge(await client.delete(f"/api/sessions/{opened}"), findings)
    elif kind == "turn":
        await _talk(f"/api/sessions/{session}", [TURN], life_s, targets, draw, findings)
    elif kind == "petals socket":
        await _talk("/api/v2/generate", PETALS, life_s, targets, draw, findings)
    elif kind == "inferlet socket":
        message = {"type": "message", "text": "hi"}
        await _talk(f"/api/inferlets/{instance}", [message], life_s, targets, draw, findings)
    elif kind == "petals session":
        asked: dict[str, str | int] = {"model": "pocket", "max_length": 64}
        answer = await client.get("/api/v1/open_inference_session", params=asked)
        _judge(answer, findings)
        if session_id := answer.json().get("session_id"):
            await client.get("/api/v1/close_inference_session", params={"session_id": session_id})
    else:
        path = {"events": f"/api/inferlets/{instance}/events", "topic": "/api/topics/cycle/events"}.get(kind)
        call = f"POST /api/v1/generate HTTP/1.1\r\nContent-Length: 28\r\nHost: {targets.host}:{targets.port}\r\n"
        form = "Content-Type: application/x-www-form-urlencoded\r\n\r\ninputs=hi&max_new_tokens=50&"
        get = f"GET {path} HTTP/1.1\r\nHost: {targets.host}:{targets.port}\r\n\r\n"
        reader, writer = await asyncio.open_connection(targets.host, targets.port)
        writer.write((get if path else call + form).encode())
        await asyncio.sleep(life_s)
        writer.transport.abort()


async def _talk(
    path: str,
    messages: list[dict[str, Any]],
    life_s: float,
    targets: Targets,
    draw: random.Random,
    findings: Findings,
) -> None:
    _, writer = await open_socket(targets, path, draw, findings)
    for message in messages:
        writer.write(frame(draw, json.dumps(message).encode()))
    await asyncio.sleep(life_s)
    writer.transport.abort()


def _judge(answer: httpx.Response, findings: Findings) -> None:
    retry = f"retry-after: {answer.headers['retry-after']}\r\n" if "retry-after" in answer.headers else ""
    findings.judge(f"HTTP/1.1 {answer.status_code} x\r\n{retry}\r\n\r\n".encode(), str(answer.url).encode())
