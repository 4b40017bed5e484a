"""Talking to one inferlet: ``WS /api/inferlets/{id}?after=``, JSON messages in both directions.

From the server, every event of the inferlet after position ``after`` (all of them where it is left out), each once
and in order: ``{"type": "message" | "stdout" | "stderr" | "lagged" | "completed" | "failed" | "terminated" | "lost",
"position", …}``. With the inferlet's end the socket is closed (1000).

From the client, ``{"type": "message", "key"?, "text" | "bytes" (base64) | "json"}`` is a message for the program. It
is answered ``{"type": "accepted", "key", "position"}`` once it is durable, or ``{"type": "error", "code", "message",
"retryable", "key"?}``. The same ``key`` again is the same message. ``{"type": "ping"}`` is answered
``{"type": "pong"}``.

Closing the socket leaves the inferlet running: come back with ``after``. Close codes: see ``api.http.sockets``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.websockets import WebSocket

from api.errors import GreenroomError, InferletNotFound, InvalidRequest
from api.http.models import cluster_of
from api.http.security import owner_of
from api.http.sockets import converse, receive_data, send_view
from api.inferlet_events import event_view
from api.inferlets import InferletHandle
from api.values import from_json
from api.wire.views import error_message


def position_of(text: str | None) -> int:
    """A position to go on after, as a client writes it; -1 where it does not.

    Raises:
        InvalidRequest: it is no number.
    """
    if text is None or text == "":
        return -1
    if not text.removeprefix("-").isdecimal() or len(text) > 18:
        raise InvalidRequest(f"after: a position is expected, not {text[:64]!r}")
    return max(-1, int(text))


async def inferlet_socket(websocket: WebSocket) -> None:
    """Serve one socket from its opening to its close."""
    await converse(websocket, _talk)


async def _talk(websocket: WebSocket) -> None:
    handle = await cluster_of(websocket).inferlet(websocket.path_params["instance_id"], owner_of(websocket))
    await Talk(websocket, handle, position_of(websocket.query_params.get("after"))).serve()


class Talk:
    """One socket's work: it receives messages for the program, and sends its events."""

    def __init__(self, websocket: WebSocket, handle: InferletHandle, after: int) -> None:
        self._websocket = websocket
        self._handle = handle
        self._after = after

    async def serve(self) -> None:
        """Until the client leaves, or the inferlet ends.

        Raises:
            InferletNotFound: it was deleted meanwhile.
            WebSocketDisconnect: the client left.
        """
        receiving = asyncio.create_task(self._receive())
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait([receiving, following], return_when=asyncio.FIRST_COMPLETED)
            (following if following.done() else receiving).result()
        finally:
            receiving.cancel()
            following.cancel()
            await asyncio.gather(receiving, following, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in self._handle.events(self._after):
            await self._send(event_view(event))

    async def _receive(self) -> None:
        """In the order of arrival: each message is durable before the next one is taken."""
        while True:
            await self._take(await receive_data(self._websocket))

    async def _take(self, data: str | bytes) -> None:
        body: dict[str, Any] = {}
        try:
            body = _parse(data)
            if body["type"] == "ping":
                await self._send({"type": "pong"})
                return
            position = await self._handle.send(from_json(body), body.get("key"))
            await self._send({"type": "accepted", "key": body.get("key"), "position": position})
        except InferletNotFound:
            raise
        except GreenroomError as error:
            view = error_message(error)
            await self._send({**view, "key": body["key"]} if "key" in body else view)

    async def _send(self, view: dict[str, Any]) -> None:
        await send_view(self._websocket, view)


def _parse(data: str | bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidRequest("a message is JSON") from None
    if not isinstance(body, dict) or body.get("type") not in ("message", "ping"):
        raise InvalidRequest("type: message or ping is expected")
    key = body.get("key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 200):
        raise InvalidRequest("key: a string of 1 to 200 characters is expected")
    return body
