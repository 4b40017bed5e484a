"""Which pages, and under which names, a server without keys is there for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import Forbidden, Misdirected
from api.http.responses import error_response
from api.http.settings import settings_of
from api.loopback import is_loopback

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of this ``Origin`` came from where its request goes, which its ``Host`` says."""
    page = _split(origin)
    return bool(page.netloc) and _address(page) == _address(_split(f"{page.scheme}://{host}"))


class OriginCheck:
    """Refuses requests and sockets of other sites' pages with 403, and requests by a foreign name with 421.

    A browser sends them from whatever page its user looks at, and without keys nothing else tells them from the user's
    own. So it applies where there are no keys, to every path, unless ``cors_origins`` has "*"; a program that is no
    browser sends no ``Origin``. By a name that leads to 127.0.0.1 (DNS rebinding) another site's page is of the same
    origin as a server on loopback: that has to be reached as localhost, by its address, or by a name in
    ``cors_origins``.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._is_on_loopback = is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        refusal = self._refusal(scope) if scope["type"] != "lifespan" else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await error_response(refusal, scope["path"])(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})  # before it opens: a 403

    def _refusal(self, scope: Scope) -> Misdirected | Forbidden | None:
        settings = settings_of(scope)
        if settings.api_keys or "*" in settings.cors_origins:
            return None
        headers, origins = Headers(scope=scope), normalized(settings.cors_origins)
        hosts, origin = headers.getlist("host"), headers.get("origin")
        for host in hosts if self._is_on_loopback else ():
            if not _is_name(_split(f"//{host}").hostname or "", origins):
                return Misdirected(f"this server is not {host}: say localhost, or a name that cors_origins has")
        if origin is not None:
            is_allowed = is_own_origin(origin, hosts[0] if hosts else "") or origin.rstrip("/").lower() in origins
        else:
            is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
            is_allowed = not is_foreign or headers.get("sec-fetch-mode") == "navigate"
        return None if is_allowed else Forbidden("pages of other sites may use this server if cors_origins names them")


def normalized(origins: Sequence[str]) -> frozenset[str]:
    """Origins as they are compared."""
    return frozenset(origin.rstrip("/").lower() for origin in origins)


def _is_name(name: str, origins: Iterable[str]) -> bool:
    return is_loopback(name) or name in {_split(origin).hostname for origin in origins}


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address.lower())
    except ValueError:
        return urlsplit("")


def _address(parts: SplitResult) -> tuple[str | None, int | None]:
    try:
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
