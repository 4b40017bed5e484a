"""Answers to unexpected exceptions."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketState

from api.http.responses import CLOSE_INTERNAL, close_socket, internal_error_response
from api.logs import event_logger

logger = event_logger("greenroom.http")


class Faults:
    """Logs the exception and answers 500 with one sentence, or closes the socket with 1011.

    An answer that has already begun cannot be taken back: the exception goes on to the server, which breaks the
    connection, so that the client does not take the part for the whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        last_sent: str | None = None

        async def send_noted(message: Message) -> None:
            nonlocal last_sent
            last_sent = message["type"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if scope["type"] not in ("http", "websocket"):
                raise
            logger.exception("unexpected error", path=scope["path"])
            if scope["type"] == "websocket":
                await _close(WebSocket(scope, receive, send), last_sent)
            elif last_sent is not None:
                raise
            else:
                await internal_error_response(scope["path"])(scope, receive, send)


async def _close(websocket: WebSocket, last_sent: str | None) -> None:
    if last_sent == "websocket.close":
        return
    if last_sent is not None:
        websocket.client_state = websocket.application_state = WebSocketState.CONNECTED
    await close_socket(websocket, CLOSE_INTERNAL, "internal")
