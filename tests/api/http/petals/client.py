"""A Petals client over real sockets, as plain as the protocol: cases written with it run against any server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TIMEOUT_S = 60.0
"""After so long without an answer a case has failed."""

NEVER = "\u2603 never said \u2603"
"""A stop sequence that no answer ends with."""


@dataclass(frozen=True, slots=True)
class PetalsClient:
    """Where the server is, and what its default model is called.

    Attributes:
        bos_text: the text of the default model's beginning-of-text token.
    """

    http: httpx.AsyncClient
    base_url: str
    model: str
    bos_text: str

    async def generate(self, query: Mapping[str, Any] | None = None, /, **form: Any) -> dict[str, Any]:
        """``POST /api/v1/generate`` with a form."""
        return answer_of(await self.http.post("/api/v1/generate", params=query, data=form))

    async def get(self, name: str, **query: Any) -> dict[str, Any]:
        """``GET /api/v1/<name>``."""
        return answer_of(await self.http.get(f"/api/v1/{name}", params=query))

    async def open(self, **query: Any) -> str:
        """The id of a new HTTP session."""
        answer = await self.get("open_inference_session", **query)
        assert answer["ok"] is True, answer
        return str(answer["session_id"])

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SocketClient]:
        """A socket on which nothing has been said."""
        url = self.base_url.replace("http", "ws", 1) + "/api/v2/generate"
        async with connect(url, open_timeout=TIMEOUT_S) as connection:
            yield SocketClient(connection)

    @asynccontextmanager
    async def session(self, **fields: Any) -> AsyncIterator[SocketClient]:
        """A socket with an open session."""
        async with self.connect() as socket:
            await socket.send(type="open_inference_session", **fields)
            assert await socket.receive() == {"ok": True}
            yield socket


class SocketClient:
    """One socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **fields: Any) -> None:
        """A message in a text frame."""
        await self.connection.send(json.dumps(fields))

    async def receive(self) -> dict[str, Any]:
        """The next message."""
        async with asyncio.timeout(TIMEOUT_S):
            message = json.loads(await self.connection.recv())
        assert isinstance(message, dict)
        return message

    async def generate(self, **fields: Any) -> list[dict[str, Any]]:
        """Ask, and read up to the message that ends it."""
        await self.send(type="generate", **fields)
        return await self.rest()

    async def rest(self) -> list[dict[str, Any]]:
        """The messages up to the one that ends a generation: stop, or an error."""
        messages = [await self.receive()]
        while messages[-1]["ok"] and not messages[-1]["stop"]:
            messages.append(await self.receive())
        return messages

    async def failure(self, **fields: Any) -> str:
        """Send this; the traceback of the error that must follow, after which the socket must close with 1000."""
        if fields:
            await self.send(**fields)
        message = await self.receive()
        while message["ok"]:
            message = await self.receive()
        assert set(message) == {"ok", "traceback"}
        assert await self.close_code() == 1000
        return str(message["traceback"])

    async def close_code(self) -> int | None:
        """The code with which the server closes; a further message is a failure."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                message = await self.connection.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        raise AssertionError(f"the socket was not closed, but said {message!r}")


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer, which must have status 200 and the form that the protocol gives it."""
    assert response.status_code == 200, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    assert isinstance(answer["ok"], bool)
    if not answer["ok"]:
        assert set(answer) == {"ok", "traceback"}
        assert response.headers["x-greenroom-error"]
    return answer


def text_of(messages: list[dict[str, Any]]) -> str:
    """The text of a generation's messages, which must be well-formed."""
    assert [message["stop"] for message in messages] == [False] * (len(messages) - 1) + [True]
    for message in messages:
        assert set(message) == {"ok", "outputs", "stop", "token_count"}
    return "".join(message["outputs"] for message in messages)


def num_tokens_of(messages: list[dict[str, Any]]) -> int:
    """The tokens that a generation's messages count."""
    return sum(message["token_count"] for message in messages if message["ok"])


async def num_tokens_in(client: PetalsClient, text: str) -> int:
    """How many tokens the server makes of a text: the error of a session that is too short for it says so."""
    async with client.session(max_length=0) as socket:
        traceback = await socket.failure(type="generate", inputs=text, max_new_tokens=1)
    prefix, current = traceback.split("prefix ")[1].split(" exceeds")[0].split(" + current ")
    assert prefix == "0"
    return int(current)
