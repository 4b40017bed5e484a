"""Thirty-two streams for five minutes: an answer for every request, no error, and what happens to memory.

``python -m tests.benchmarks.soak [--minutes N] [--streams N]``; exits 1 where it finds an error or growth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect

from tests.benchmarks.served import Served
from tests.benchmarks.serving import prompt, stop_refilling

PROCESSES = ("model", "gateway", "journal", "directory")
MAX_CONTEXT = 600
MAX_GROWTH = 0.15
"""Of a process's memory between a fifth of the run and its end."""


@dataclass
class Tally:
    """What the streams saw."""

    asked: int = 0
    answered: int = 0
    tokens: int = 0
    errors: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


async def stream(url: str, index: int, until: float, tally: Tally) -> None:
    """One session that keeps talking."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        session_id = (await http.post("/api/sessions", json={})).json()["id"]
        async with connect(f"{url.replace('http', 'ws')}/api/sessions/{session_id}") as socket:
            length = 0
            while time.monotonic() < until:
                if length > MAX_CONTEXT:
                    answer = await http.post(f"/api/sessions/{session_id}/rollback", json={"length": 0})
                    assert answer.status_code == 200, answer.text
                    length = 0
                turn = {"turn_id": uuid.uuid4().hex, "tokens": prompt(index, 24), "max_tokens": 48}
                tally.asked += 1
                began = time.monotonic()
                await socket.send(json.dumps({"type": "generate", **turn}))
                length = await _answer(socket, tally)
                tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
        await http.delete(f"/api/sessions/{session_id}")


async def _answer(socket: object, tally: Tally) -> int:
    async for text in socket:  # type: ignore[attr-defined]
        message = json.loads(text)
        if message["type"] == "error":
            tally.errors.append(message["message"])
            return 0
        if message["type"] == "tokens":
            tally.tokens += len(message["ids"])
        if message["type"] == "finished":
            tally.answered += 1
            return int(message["usage"]["context_tokens"])
    raise AssertionError("the socket closed before the answer's end")


async def soak(served: Served, minutes: float, num_streams: int, console: Console) -> bool:
    """Run it; True when all is well."""
    tally, began = Tally(), time.monotonic()
    until = began + minutes * 60
    tasks = [asyncio.create_task(stream(served.url, index, until, tally)) for index in range(num_streams)]
    samples: list[dict[str, int]] = []
    is_well = False
    try:
        while time.monotonic() < until:
            await asyncio.sleep(minutes * 60 / 20)
            samples.append({what: await asyncio.to_thread(served.memory, what) for what in PROCESSES})
        await asyncio.gather(*tasks)
    finally:
        if samples:
            is_well = report(tally, samples, time.monotonic() - began, num_streams, console)
    return is_well


def report(tally: Tally, samples: list[dict[str, int]], seconds: float, num_streams: int, console: Console) -> bool:
    """Print what has been seen so far; True when all is well."""
    minutes = round(seconds / 60, 1)
    table = Table("process", "MB at 1/5", "MB at the end", "growth", title=f"{num_streams} streams, {minutes} minutes")
    is_well = not tally.errors and tally.asked == tally.answered
    for what in PROCESSES:
        early, late = samples[len(samples) // 5][what], samples[-1][what]
        growth = late / early - 1
        is_well = is_well and growth < MAX_GROWTH
        table.add_row(what, f"{early / 1e6:.0f}", f"{late / 1e6:.0f}", f"{growth:+.1%}")
    console.print(table)
    console.print(f"asked {tally.asked}, answered {tally.answered}, errors {len(tally.errors)}, {tally.errors[:3]}")
    console.print(f"{tally.tokens / seconds:.0f} tokens/s, slowest answer {tally.slowest_s:.1f} s")
    return is_well


def main() -> None:
    """Deploy, soak, take down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--streams", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        served = Served({"sessions": {"pool_size": arguments.streams}}, Path(folder))
        served.start()
        try:
            served.wait_for_sessions(arguments.streams)
            served.run(stop_refilling)
            is_well = asyncio.run(soak(served, arguments.minutes, arguments.streams, Console()))
        finally:
            served.stop()
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
