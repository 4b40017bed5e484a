"""What one process takes on: so many requests and sockets at once, bodies of so many bytes."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from api.errors import TooLarge, Unavailable
from api.http.responses import CLOSE_TRY_LATER, close_socket, error_response

_UNLIMITED_PATHS = frozenset({"/healthz", "/readyz"})


class ConcurrencyLimit:
    """Refuses what is more than this process serves at once.

    A request gets 503 with ``Retry-After``; a socket is accepted and closed with 1013, because a browser shows no
    status of a socket that was never opened. Health checks always pass.
    """

    def __init__(self, app: ASGIApp, max_requests: int, max_sockets: int) -> None:
        self._app = app
        self._limits = {"http": max_requests, "websocket": max_sockets}
        self._counts = {"http": 0, "websocket": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        kind = scope["type"]
        if kind not in self._limits or scope["path"] in _UNLIMITED_PATHS:
            await self._app(scope, receive, send)
        elif self._counts[kind] >= self._limits[kind]:
            await _refuse(scope, receive, send)
        else:
            self._counts[kind] += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._counts[kind] -= 1


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await close_socket(WebSocket(scope, receive, send), CLOSE_TRY_LATER, "too many sockets")
        return
    await error_response(Unavailable("this server has as many requests in progress as it takes"))(scope, receive, send)


class SizeLimit:
    """Refuses bodies and socket messages of more than ``max_bytes``.

    A declared length is judged at once. Otherwise bytes are counted as they come, and ``TooLarge`` is raised out of the
    handler's own ``receive``.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "http":
            declared = Headers(scope=scope).get("content-length", "")
            if declared.isdecimal() and int(declared) > self._max_bytes:
                await error_response(self._too_large("the body"))(scope, receive, send)
            else:
                await self._app(scope, self._counting(receive), send)
        else:
            await self._app(scope, self._measuring(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        num_bytes = 0

        async def receive_counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                raise self._too_large("the body")
            return message

        return receive_counted

    def _measuring(self, receive: Receive) -> Receive:
        async def receive_measured() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and _size_of(message) > self._max_bytes:
                raise self._too_large("the message")
            return message

        return receive_measured

    def _too_large(self, what: str) -> TooLarge:
        return TooLarge(f"{what} is larger than {self._max_bytes} bytes")


def _size_of(message: Message) -> int:
    text = message.get("text")
    return len(text.encode()) if text is not None else len(message.get("bytes") or b"")
