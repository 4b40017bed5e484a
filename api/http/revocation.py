"""What is open under an API key ends when the key is revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Unauthorized
from api.http.limits import is_stream
from api.http.security import key_of
from api.settings import ApiKey


class Revocation:
    """Raises ``Unauthorized`` out of the ``receive`` of a socket or a stream whose key has been revoked.

    Both always have one that waits there. So a socket ends as one without a key does, with 1008, and the connection of
    a stream is broken, so that its client does not take a part for the whole. A call that is no stream goes on to its
    end. ``app.state.opened`` has what is open.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        key = key_of(HTTPConnection(scope)) if scope["type"] in ("http", "websocket") else None
        if key is None:
            await self._app(scope, receive, send)
            return
        all_opened: set[Opened] = scope["app"].state.opened
        opened = Opened(key, scope, receive)
        all_opened.add(opened)
        try:
            await self._app(scope, opened.receive, send)
        finally:
            all_opened.remove(opened)


class Opened:
    """A request or socket that came with a key, which one owner had then."""

    def __init__(self, key: ApiKey, scope: Scope, receive: Receive) -> None:
        self._key = key
        self._scope = scope
        self._receive = receive
        self._is_revoked = False
        self._receiving: asyncio.Timeout | None = None

    def check(self, keys: Sequence[ApiKey]) -> None:
        """End it if its key is not among these, or has another owner."""
        self._is_revoked = self._key not in keys
        if self._has_to_end and self._receiving:
            self._receiving.reschedule(asyncio.get_running_loop().time())

    async def receive(self) -> Message:
        """The connection's own ``receive``, until it has to end.

        Raises:
            Unauthorized: it has to end.
        """
        if not self._has_to_end:
            try:
                async with asyncio.timeout(None) as self._receiving:
                    return await self._receive()
            except TimeoutError:
                pass
            finally:
                self._receiving = None
        raise Unauthorized("this API key was revoked")

    @property
    def _has_to_end(self) -> bool:
        return self._is_revoked and (self._scope["type"] == "websocket" or is_stream(self._scope))
