"""One structured log line a request, under an id that the client gets too; and what is counted of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.responses import ERROR_HEADER
from api.logs import event_logger

logger = event_logger("greenroom.http")

REQUEST_ID_HEADER = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True, slots=True)
class Served:
    """A request or a socket that has ended.

    Attributes:
        route: the path with names in place of ids, "/api/sessions/{session_id}"; "" where there is none such.
        method: "WEBSOCKET" of a socket.
        status: of the answer; of a socket its close code; None where the client left before there was one.
        error: the code in ``api.errors`` of what was refused or failed, else "".
    """

    route: str
    method: str
    status: int | None
    error: str


class RequestLog:
    """Gives each request and socket an id (``connection.state.request_id``): its sender's own, or a new one.

    The answer carries it in ``X-Request-Id``. The log line has the path without the query, which may hold prompts.
    ``observe`` is told of each, at its end.
    """

    def __init__(self, app: ASGIApp, observe: Callable[[Served], None]) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None
        error = ""

        async def send_named(message: Message) -> None:
            nonlocal status, error
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                error = headers.get(ERROR_HEADER, "")
            elif message["type"] == "websocket.close":
                status = message.get("code", 1000)
            await send(message)

        async def receive_noted() -> Message:
            nonlocal status
            message = await receive()
            if message["type"] == "websocket.disconnect" and status is None:
                status = message.get("code")
            return message

        method = scope.get("method", "WEBSOCKET")
        started_at = time.monotonic()
        try:
            await self._app(scope, receive_noted, send_named)
        finally:
            self._observe(Served(getattr(scope.get("route"), "path", ""), method, status, error))
            logger.info(
                "served",
                request_id=request_id,
                method=method,
                path=scope["path"],
                status=status,
                duration_ms=round(1000 * (time.monotonic() - started_at), 1),
            )


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex
