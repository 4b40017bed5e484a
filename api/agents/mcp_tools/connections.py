"""The MCP servers of one thread of an agent, in a thread of the process, which begins with the first call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from api.mcp_servers import McpServer

if TYPE_CHECKING:
    from api.agents.mcp_tools.connection import Connection

Answer = TypeVar("Answer")

CLOSING_S = 0.8
"""A program that ends waits so long for its servers to end."""


class NotInstalled(Exception):
    """What talks to MCP servers is not there."""


class Connections:
    """Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._closing = asyncio.Event()
        self._connections: list[Connection] = []

    async def use(self, server: McpServer, work: Callable[[Connection], Coroutine[Any, Any, Answer]]) -> Answer:
        """What this comes to with the connection to a server; cancelling that cancels the work."""
        future = asyncio.run_coroutine_threadsafe(self._work(server, work), self._started())
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Leave all servers; those that were started end, soon after this returns at the latest."""
        with self._lock:
            self._is_closed = True
            loop, thread = self._loop, self._thread
        if loop and thread:
            loop.call_soon_threadsafe(self._closing.set)
            thread.join(CLOSING_S)

    async def _work(self, server: McpServer, work: Callable[[Connection], Coroutine[Any, Any, Answer]]) -> Answer:
        try:
            from api.agents.mcp_tools.connection import Connection  # here, since it imports much that few agents need
        except ImportError:
            raise NotInstalled("tools of MCP servers need packages here: pip install 'greenroom[mcp]'") from None

        connection = next((one for one in self._connections if one.server == server), None)
        if connection is None:
            connection = Connection(server)
            self._connections.append(connection)
        return await work(connection)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._is_closed:
                raise ConnectionError("the agent's thread has left this process")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="mcp", daemon=True)
                self._thread.start()
            return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._until_closed())

    async def _until_closed(self) -> None:
        await self._closing.wait()
        await asyncio.gather(*(connection.close() for connection in self._connections))
