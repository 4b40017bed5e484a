"""What every WebSocket conversation of ours has in common: its opening, its close code, its JSON messages.

Close codes: 1000 it is over, 1008 unauthorised or not allowed, 4404 what was asked for does not exist, 1009 too large,
1013 try again later, 1012 the server is going away, 1011 a bug.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from api.errors import GreenroomError
from api.http.json_text import json_text
from api.http.responses import CLOSE_INTERNAL, close_code, close_socket
from api.http.security import selected_subprotocol
from api.wire.views import error_message

CLOSE_NORMAL = 1000

logger = logging.getLogger("greenroom.sockets")


ErrorView = Callable[[GreenroomError], Mapping[str, Any]]
"""The form of a message that tells of an error."""


async def converse(
    websocket: WebSocket, conversation: Callable[[WebSocket], Awaitable[None]], error_view: ErrorView = error_message
) -> None:
    """Serve one socket to its close. What ends it too early is its last message, and its close code."""
    await websocket.accept(selected_subprotocol(websocket))
    code = CLOSE_NORMAL
    try:
        await conversation(websocket)
    except WebSocketDisconnect:
        pass
    except GreenroomError as error:
        code = close_code(error)
        await _send_last(websocket, error_view(error))
    except Exception:
        logger.exception("the conversation on %s failed", websocket.url.path)
        code = CLOSE_INTERNAL
        await _send_last(websocket, error_view(GreenroomError()))
    finally:
        await close_socket(websocket, code)


async def receive_data(websocket: WebSocket) -> str | bytes:
    """The next message, text or binary.

    Raises:
        WebSocketDisconnect: the client left.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or message.get("bytes") or b""


async def send_view(websocket: WebSocket, view: Mapping[str, Any]) -> None:
    """Send one message."""
    await websocket.send_text(json_text(view))


async def _send_last(websocket: WebSocket, view: Mapping[str, Any]) -> None:
    try:
        await send_view(websocket, view)
    except (WebSocketDisconnect, RuntimeError):
        pass
