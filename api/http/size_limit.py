"""Bodies and socket messages of so many bytes."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge
from api.http.responses import error_response


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
                await error_response(self._too_large("the body"), scope["path"])(scope, receive, send)
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
