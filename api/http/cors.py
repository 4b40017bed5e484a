"""Which pages of other origins may use this server."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.origins import is_own_origin, normalized
from api.http.settings import settings_of

_ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED_HEADERS = "Retry-After, X-Greenroom-Error, X-Request-Id"
_MAX_AGE_S = 600


class Cors:
    """Adds the headers of cross-origin sharing to every answer, and answers every OPTIONS itself.

    The allowed origin is the request's own, or "*" where it has none. Credentials are never allowed: keys travel in a
    header that a page must know, not in cookies. Browsers do not apply the rule to WebSockets; it is applied here:
    a socket from a page of another origin than this server's or one of ``cors_origins`` is refused with 403.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, origins = Headers(scope=scope), normalized(settings_of(scope).cors_origins)
        if scope["type"] == "websocket" and not _may_connect(headers, origins):
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "origin not allowed"})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await _options_response(headers)(scope, receive, _sharing(headers, origins, send))
        else:
            await self._app(scope, receive, _sharing(headers, origins, send))


def _sharing(request_headers: Headers, origins: frozenset[str], send: Send) -> Send:
    origin = _allowed_origin(request_headers.get("origin"), origins)

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
        await send(message)

    return send_shared


def _allowed_origin(origin: str | None, origins: frozenset[str]) -> str | None:
    if "*" in origins:
        return origin or "*"
    return origin if origin is not None and origin.lower() in origins else None


def _may_connect(headers: Headers, origins: frozenset[str]) -> bool:
    origin = headers.get("origin")
    if origin is None or _allowed_origin(origin, origins) is not None:
        return True
    return is_own_origin(origin, headers.get("host", ""))


def _options_response(request_headers: Headers) -> Response:
    headers = {
        "Allow": _ALLOWED_METHODS,
        "Access-Control-Allow-Methods": _ALLOWED_METHODS,
        "Access-Control-Allow-Headers": request_headers.get(
            "access-control-request-headers", "Authorization, Content-Type"
        ),
        "Access-Control-Max-Age": str(_MAX_AGE_S),
        "Vary": "Access-Control-Request-Headers",
    }
    return Response(status_code=200, headers=headers)
