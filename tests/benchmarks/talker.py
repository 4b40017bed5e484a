"""One owner's session on its WebSocket."""

from __future__ import annotations

import json
import time

import httpx
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.serving import prompt


def key_of(owner: str) -> str:
    return f"the-key-of-{owner}"


def headers_of(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_of(owner)}"}


class Talker:
    """One session on its WebSocket."""

    def __init__(self, url: str, owner: str, max_context: int) -> None:
        self._url = url
        self._owner = owner
        self._max_context = max_context
        self._length = 0
        self._num_turns = 0
        self._socket: ClientConnection

    async def open(self, http: httpx.AsyncClient) -> None:
        """Open the session and connect."""
        answer = await http.post("/api/sessions", json={}, headers=headers_of(self._owner))
        answer.raise_for_status()
        self._path = f"/api/sessions/{answer.json()['id']}"
        self._http = http
        address = self._url.replace("http", "ws") + self._path
        self._socket = await connect(address, additional_headers=headers_of(self._owner))

    async def close(self) -> None:
        """Disconnect, and delete the session."""
        await self._socket.close()
        await self._http.delete(self._path, headers=headers_of(self._owner))

    async def turn(self, num_prompt: int, num_tokens: int) -> float:
        """The time to the first token of a turn; returns when it has ended.

        Raises:
            AssertionError: an error was answered.
        """
        if self._length + num_prompt + num_tokens > self._max_context:
            headers = headers_of(self._owner)
            answer = await self._http.post(f"{self._path}/rollback", json={"length": 0}, headers=headers)
            assert answer.is_success, answer.text
            self._length = 0
        self._length += num_prompt + num_tokens
        self._num_turns += 1
        began, first_s = time.perf_counter(), 0.0
        message = {"type": "generate", "tokens": prompt(self._num_turns, num_prompt), "max_tokens": num_tokens}
        await self._socket.send(json.dumps(message))
        while (answered := json.loads(await self._socket.recv()))["type"] != "finished":
            assert answered["type"] != "error", answered
            if answered["type"] == "tokens":
                first_s = first_s or time.perf_counter() - began
        return first_s
