"""One hostile owner: a process that takes all that it can get, and says what that is.

``python -m tests.benchmarks.hostile URL`` prints a line when it has got what there is for it, and what it had and was
told when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.benchmarks.talker import Talker, headers_of, key_of

HOSTILE = "mallory"
NUM_SESSIONS, NUM_CALLS = 12, 52
"""Each has a turn that runs or waits."""
NUM_STREAMS, NUM_SOCKETS, NUM_BODIES, NUM_INFERLETS = 300, 300, 40, 30
"""Some more than one owner may have."""
PROMPT, LONG = 48, 1500
"""Tokens."""
NICENESS = 19
"""It stands for another machine, and leaves this one's processor to the server."""
SLEEPER = """
from api.inferlet import Args, inferlet
import asyncio

@inferlet
async def main(args: Args) -> None:
    await asyncio.sleep(3600)
"""


@dataclass
class Hostile:
    """All that one owner does at once; ``refusals`` counts what it was told."""

    url: str
    num_turns: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Begin; returns when nothing more can be had and the turns run."""
        limits = httpx.Limits(max_connections=2000)
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers_of(HOSTILE), timeout=120, limits=limits)
        program = (await self._http.post("/api/programs", json={"source": SLEEPER})).json()["program"]
        works: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (NUM_STREAMS, self._stream),
            (NUM_SOCKETS, self._connect),
            (NUM_BODIES, self._half_body),
            (NUM_INFERLETS, lambda: self._launch(program)),
        ]
        talkers = [Talker(self.url, HOSTILE, 2000) for _ in range(NUM_SESSIONS)]
        for talker in talkers:
            await talker.open(self._http)
        self.held["sessions"] = len(talkers)
        for number in range(NUM_SESSIONS + NUM_CALLS):
            lengths = (LONG, 1) if number % 2 else (PROMPT, LONG)
            turns = self._talk(talkers[number], *lengths) if number < NUM_SESSIONS else self._call(*lengths)
            self._tasks.append(asyncio.create_task(turns))
        for count, work in works:
            self._tasks += [asyncio.create_task(self._again_and_again(work)) for _ in range(count)]

    async def settle(self, timeout_s: float = 60.0) -> None:
        """Until it has got all that it gets, and turns have ended."""
        seen: list[Counter[str]] = []
        async with asyncio.timeout(timeout_s):
            while len(seen) < 5 or self.num_turns < 5 or any(found != seen[-1] for found in seen[-5:]):
                await asyncio.sleep(2)
                seen.append(Counter(self.held))

    async def stop(self) -> None:
        """Leave, and delete what is there."""
        while going := [task for task in self._tasks if not task.done()]:
            for task in going:  # once more, where a client has swallowed it
                task.cancel()
            await asyncio.wait(going, timeout=1)
        while active := [entry for entry in await self._list("inferlets") if entry["state"] in ("running", "waiting")]:
            for entry in sorted(active, key=lambda entry: entry["state"]):  # a waiting one needs the place of another
                await self._until_let("DELETE", f"/api/inferlets/{entry['id']}")
        for entry in await self._list("sessions"):
            await self._until_let("DELETE", f"/api/sessions/{entry['id']}")
        await self._http.aclose()

    async def _list(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = (await self._until_let("GET", f"/api/{kind}")).json()[kind]
        return entries

    async def _until_let(self, method: str, path: str) -> httpx.Response:
        """Ask again while its share is still taken by what it has just left."""
        while True:
            answer = await self._http.request(method, path)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer
            await asyncio.sleep(1)

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            with suppress(httpx.HTTPError, WebSocketException, OSError):
                await work()
            await asyncio.sleep(1 + random.random())

    async def _talk(self, talker: Talker, num_prompt: int, num_tokens: int) -> None:
        while True:
            try:
                await talker.turn(num_prompt, num_tokens)
                self.num_turns += 1
            except AssertionError as refusal:
                self.refusals[f"turn {refusal}"] += 1
                await asyncio.sleep(1)

    async def _call(self, num_prompt: int, num_tokens: int) -> None:
        """One call after another, without a session."""
        while True:
            data = {"inputs": " word" * (num_prompt // 2), "max_new_tokens": num_tokens}
            with suppress(httpx.HTTPError):
                answer = await self._http.post("/api/v1/generate", data=data)
                if not self._is_refused("turn", answer):
                    assert answer.json()["ok"], answer.text
                    self.num_turns += 1
                    continue
            await asyncio.sleep(1)

    async def _stream(self) -> None:
        async with self._http.stream("GET", "/api/topics/noise/events") as answer:
            if self._is_refused("event stream", answer):
                return
            self.held["event streams"] += 1
            try:
                async for _ in answer.aiter_raw():
                    pass
            finally:
                self.held["event streams"] -= 1

    async def _connect(self) -> None:
        address = self.url.replace("http", "ws") + "/api/v2/generate"
        async with connect(address, additional_headers=headers_of(HOSTILE)) as socket:
            self.held["sockets"] += 1
            await socket.wait_closed()
            self.held["sockets"] -= 1
            self.refusals[f"socket {socket.close_code} {socket.close_reason}"] += 1

    async def _half_body(self) -> None:
        address = httpx.URL(self.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        lines = ["POST /api/sessions HTTP/1.1", "Host: x", f"Authorization: Bearer {key_of(HOSTILE)}"]
        writer.write("\r\n".join((*lines, "Content-Length: 1000", "", "{")).encode())
        self.held["half bodies"] += 1
        try:
            status = (await reader.readline()).decode().strip()
            self.refusals[f"half body {status}"] += 1
        finally:
            self.held["half bodies"] -= 1
            writer.close()

    async def _launch(self, program: str) -> None:
        answer = await self._http.post("/api/inferlets", json={"program": program})
        if not self._is_refused("inferlet", answer):
            self.held["inferlets"] += 1
            await asyncio.sleep(3600)

    def _is_refused(self, what: str, answer: httpx.Response) -> bool:
        if answer.status_code < 400:
            return False
        self.refusals[f"{what} {answer.status_code}, Retry-After: {answer.headers.get('retry-after')}"] += 1
        return True


def stand_back() -> None:
    """Leave the processor to the server: Linux shares it among sessions of processes, and within each by niceness."""
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


async def main() -> None:
    """Take, wait, tell, leave."""
    hostile = Hostile(sys.argv[1])
    await hostile.start()
    with suppress(TimeoutError):
        await hostile.settle()
    num_before, began = hostile.num_turns, time.perf_counter()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    rate = (hostile.num_turns - num_before) / (time.perf_counter() - began)
    print(json.dumps({"held": hostile.held, "refusals": hostile.refusals, "turns_per_s": rate}), flush=True)
    await hostile.stop()


if __name__ == "__main__":
    stand_back()
    asyncio.run(main())
