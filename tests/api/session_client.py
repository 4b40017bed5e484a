"""A bare WebSocket client of the session protocol, for tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from api.cluster import SessionOptions
from tests.api.fake_cluster import FakeCluster

Sent = dict[str, Any]


class Wire:
    """Messages as dictionaries."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        """One message."""
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Sent:
        """The next message."""
        message: Sent = json.loads(await self.socket.recv())
        return message

    async def until(self, kind: str) -> list[Sent]:
        """Messages up to and with the first of this kind."""
        messages = [await self.receive()]
        while messages[-1]["type"] != kind:
            messages.append(await self.receive())
        return messages

    async def close_code(self) -> int:
        """How the server closes, after what it still sends."""
        await self.socket.wait_closed()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def wire_to(base_url: str, session_id: str, **options: Any) -> AsyncIterator[Wire]:
    """A socket to a session; closed at the end."""
    async with connect(f"ws{base_url.removeprefix('http')}/api/sessions/{session_id}", **options) as socket:
        yield Wire(socket)


async def new_session(cluster: FakeCluster, owner: str = "") -> str:
    """The id of a session that was opened past the routes."""
    return (await cluster.open_session(SessionOptions(), owner)).session_id


def text_of(messages: list[Sent]) -> str:
    """The text that messages add up to; their offsets must follow each other."""
    tokens = [message for message in messages if message["type"] == "tokens"]
    for before, after in zip(tokens, tokens[1:], strict=False):
        assert after["offset"] == before["offset"] + len(before["ids"])
    return "".join(message["text"] for message in messages if message["type"] in ("tokens", "finished"))
