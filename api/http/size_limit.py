"""Bodies and socket messages of so many bytes."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import TooLarge
from api.http.responses import error_response
from api.http.settings import settings_of


class SizeLimit:
    """Refuses bodies and socket messages of more than ``max_body_bytes`` of the settings.

    A declared length is judged at once. Otherwise bytes are counted as they come, and ``TooLarge`` is raised out of the
    handler's own ``receive``.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "http":
            declared, max_bytes = Headers(scope=scope).get("content-length", ""), settings_of(scope).max_body_bytes
            if declared.isdecimal() and int(declared) > max_bytes:
                await error_response(_too_large("the body", max_bytes), scope["path"])(scope, receive, send)
            else:
                await self._app(scope, _counting(receive, max_bytes), send)
        else:
            await self._app(scope, _measuring(scope, receive), send)


def _counting(receive: Receive, max_bytes: int) -> Receive:
    num_bytes = 0

    async def receive_counted() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > max_bytes:
            raise _too_large("the body", max_bytes)
        return message

    return receive_counted


def _measuring(scope: Scope, receive: Receive) -> Receive:
    async def receive_measured() -> Message:
        message, max_bytes = await receive(), settings_of(scope).max_body_bytes
        if message["type"] == "websocket.receive" and _size_of(message) > max_bytes:
            raise _too_large("the message", max_bytes)
        return message

    return receive_measured


def _too_large(what: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"{what} is larger than {max_bytes} bytes")


def _size_of(message: Message) -> int:
    text = message.get("text")
    return len(text.encode()) if text is not None else len(message.get("bytes") or b"")
