"""A server as the Python client reaches it: requests, and WebSockets of which it keeps some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from websockets.asyncio.client import ClientConnection, connect

from api.client.event_lines import SILENCE_S
from api.client.remote_errors import error_of
from api.client.retries import Patience, unreachable
from api.errors import Unavailable
from api.wire.views import View

MAX_IDLE_SOCKETS = 64
"""Connections that it keeps between answers, one a session; it closes what comes after."""

CLOSE_TIMEOUT_S = 0.1
"""For the server's answer to a close, which comes after all that it has sent, read or not."""

AnyView = TypeVar("AnyView", bound=View)


class Server:
    """One server, and the connections to it. The arguments are those of ``Client``."""

    def __init__(self, base_url: str, api_key: str | None, timeout_s: float, patience_s: float) -> None:
        self.url = str(httpx.URL(base_url.rstrip("/")).copy_with(userinfo=b""))
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=base_url.rstrip("/"), headers=self._headers, timeout=timeout_s)
        self._socket_url = "ws" + base_url.rstrip("/").removeprefix("http")
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._idle: dict[str, ClientConnection] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        idle, self._idle = self._idle, {}
        await asyncio.gather(*(socket.close() for socket in idle.values()))

    def new_patience(self) -> Patience:
        """For one answer, or one stream of events."""
        return Patience(self._patience_s, self.url)

    async def ask(self, kind: type[AnyView], method: str, path: str, body: dict[str, Any] | None = None) -> AnyView:
        """The view that a request is answered with."""
        response = await self.send(method, path, body)
        return kind.model_validate_json(response.content)

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """One request, its answer unread."""
        return await self.request(method, path, json=body)

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; ``options`` as httpx has them.

        Raises:
            GreenroomError: the server answers with one.
            Unavailable: it does not answer.
        """
        try:
            response = await self._http.request(method, path, **options)
        except httpx.ReadTimeout as error:
            raise Unavailable(
                f"the server at {self.url} has not answered {method} {path} within {self._timeout_s:g} s"
            ) from error
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        _check(response)
        return response

    @asynccontextmanager
    async def stream(self, path: str, query: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """The answer to a request, while it comes."""
        timeout = httpx.Timeout(self._timeout_s, read=SILENCE_S)
        async with self._http.stream("GET", path, params=query, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
            _check(response)
            yield response

    @asynccontextmanager
    async def socket(self, session_id: str) -> AsyncIterator[ClientConnection]:
        """A connection to a session: the idle one if there is one. Kept for later, unless an exception ends this."""
        socket = self._idle.pop(session_id, None) or await self._connect(session_id)
        try:
            yield socket
        except BaseException:
            await socket.close()
            raise
        if session_id in self._idle or len(self._idle) >= MAX_IDLE_SOCKETS:
            await socket.close()
        else:
            self._idle[session_id] = socket

    async def _connect(self, session_id: str) -> ClientConnection:
        return await self.open_socket(f"/api/sessions/{session_id}?turns=own")

    def open_socket(self, path: str) -> connect:
        """A new connection, to be awaited or entered."""
        return connect(
            self._socket_url + path,
            additional_headers=self._headers,
            open_timeout=self._timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=None,
        )


def _check(response: httpx.Response) -> None:
    """Raise what an answer says that is an error."""
    if response.is_success:
        return
    try:
        problem = response.json()["error"]
        code, sentence = problem["code"], problem["message"]
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"the server answered {response.status_code}") from None
    raise error_of(code, sentence)
