"""How an MCP server is reached, and when it is gone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from api.agents.environment import filled_in
from api.mcp_servers import McpServer

TIMEOUT_S = 30.0
"""For a connection, and for what is sent; for an answer a call has its own."""


@asynccontextmanager
async def transport_to(server: McpServer, over: asyncio.Event) -> AsyncIterator[Any]:
    """The two streams of messages; ``over`` is set when no more will come.

    Raises:
        InvalidRequest: an environment variable that the server needs is not set.
        OSError: its command cannot be run.
    """
    if server.command:
        program, *arguments = server.command
        parameters = StdioServerParameters(command=program, args=arguments, env=filled_in(server.env))
        async with stdio_client(parameters, sys.__stderr__ or sys.stderr) as (incoming, outgoing):
            yield _Watched(incoming, over), outgoing
    else:
        assert server.url is not None, "a server has a command or a url"
        limits = httpx2.Timeout(TIMEOUT_S, read=None)
        async with (
            httpx2.AsyncClient(headers=filled_in(server.headers), timeout=limits) as http,
            streamable_http_client(server.url, http_client=http) as (incoming, outgoing),
        ):
            yield _Watched(incoming, over), outgoing


class _Watched:
    """A stream of messages that tells its end."""

    def __init__(self, stream: Any, over: asyncio.Event) -> None:
        self._stream = stream
        self._over = over

    @property
    def last_context(self) -> Any:
        """See ``mcp.shared._stream_protocols``."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._over.set()
            raise

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._stream.__aexit__(*error)
