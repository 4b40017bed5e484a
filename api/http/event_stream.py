"""Server-sent events: an answer that goes on until there is nothing more to say, or the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from api.errors import GreenroomError, Unauthorized
from api.http.disconnects import while_connected
from api.http.json_text import json_text
from api.http.limits import become_stream
from api.wire.views import error_message

KEEP_ALIVE_S = 15.0
"""After so long without an event a comment is sent, so that no proxy takes the connection for dead."""

KEEP_ALIVE = ": still here\n\n"


def event_text(event: str, data: Mapping[str, Any], event_id: str | None = None) -> str:
    """One event, on the wire."""
    lines = [f"id: {event_id}\n"] if event_id is not None else []
    return "".join((*lines, f"event: {event}\n", f"data: {json_text(data, is_ascii=True)}\n\n"))


def error_text(error: GreenroomError) -> str:
    """The last event of a stream that failed: its status had been sent before."""
    return event_text("error", error_message(error))


async def kept_alive(texts: AsyncGenerator[str]) -> AsyncGenerator[str]:
    """The same, with a comment wherever nothing comes for long; leaving it closes them."""
    waiting: asyncio.Future[str] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(texts))
            await asyncio.wait((waiting,), timeout=KEEP_ALIVE_S)
            if not waiting.done():
                yield KEEP_ALIVE
                continue
            came, waiting = waiting, None
            try:
                text = came.result()
            except StopAsyncIteration:
                return
            yield text
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await texts.aclose()


class GrowingResponse(Response):
    """Sends what a generator yields, and closes it when it ends, or the client has left or may not have more.

    ``first`` is what it has yielded already: only a generator that has begun does anything when it is closed.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[str] | AsyncGenerator[bytes],
        first: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        unbuffered = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(headers={**unbuffered, **(headers or {})}, media_type=media_type)
        del self.headers["content-length"]
        self._pieces = pieces
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        try:
            become_stream(scope)
            await while_connected(Request(scope, receive), self._send(send))
        except (ClientDisconnect, OSError, Unauthorized):
            return
        finally:
            await self._pieces.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._first:
            await send(_body(self._first))
        async for piece in self._pieces:
            await send(_body(piece))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class EventStream(GrowingResponse):
    """The same, of events."""

    media_type = "text/event-stream"


def _body(piece: str | bytes) -> Message:
    return {
        "type": "http.response.body",
        "body": piece.encode() if isinstance(piece, str) else piece,
        "more_body": True,
    }
