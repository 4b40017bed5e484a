"""Streams that go on while something is done to their server: what came, when, and over how many sockets."""

from __future__ import annotations

import asyncio
import statistics
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.cluster.native import Answer, say

TURN: dict[str, Any] = {
    "tokens": list(range(300, 340)),
    "max_tokens": 200,
    "sampling": {"logit_bias": {"1": -100}},
}
"""The same each time, from an empty context: so is its answer, the end-of-text token being held off."""


@dataclass
class Stream:
    """One session's turns, one after another: those that have ended, and the one that runs."""

    answers: list[Answer] = field(default_factory=list)
    running: Answer = field(default_factory=Answer)

    @property
    def num_closed(self) -> int:
        """Sockets that ended before their turn."""
        return sum(answer.num_connections - 1 for answer in self.answers)

    def waits(self, begin: float, end: float) -> list[float]:
        """Seconds from one message with tokens to the next, of those that came in this time."""
        return [wait for answer in self.answers for at, wait in answer.waits if begin <= at <= end]


@asynccontextmanager
async def steady_streams(
    url: str, number: int, model: str = "pocket", key: str | None = None, **turn: Any
) -> AsyncIterator[list[Stream]]:
    """So many, each of which has ended two turns; they end after the turn in which this is left."""
    streams, is_over = [Stream() for _ in range(number)], asyncio.Event()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with asyncio.TaskGroup() as running:
        for stream in streams:
            running.create_task(_run(url, model, headers, {**TURN, **turn}, stream, is_over))
        await turns_of(streams, 2)
        try:
            yield streams
        finally:
            is_over.set()


async def turns_of(streams: Sequence[Stream], number: int) -> None:
    """Each has ended so many turns more."""
    wanted = [len(stream.answers) + number for stream in streams]
    async with asyncio.timeout(240):
        while any(len(stream.answers) < number for stream, number in zip(streams, wanted, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def percentile(waits: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(waits, n=1000, method="inclusive")[round(share * 1000) - 1]


async def _run(
    url: str, model: str, headers: dict[str, str], turn: dict[str, Any], stream: Stream, is_over: asyncio.Event
) -> None:
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
        while (opened := await client.post("/api/sessions", json={"model": model})).status_code != 201:
            assert opened.status_code == 503, opened.text
        session = opened.json()["id"]
        while not is_over.is_set():
            stream.running = Answer()
            await say(url, session, {**turn, "turn_id": uuid.uuid4().hex}, stream.running, headers=headers)
            stream.answers.append(stream.running)
            rolled = await client.post(f"/api/sessions/{session}/rollback", json={"length": 0})
            rolled.raise_for_status()
        await client.delete(f"/api/sessions/{session}")
