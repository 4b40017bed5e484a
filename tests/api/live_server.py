"""A real server on a real socket, in the test's own event loop."""

from __future__ import annotations

import asyncio
import functools
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from api.http.server.connection import Connection, Socket
from api.http.server.pending import ConnectionLimits, PendingConnections


class _Server(uvicorn.Server):
    """Stops at once when it is told to, instead of at its next tick and after a tenth of a second."""

    def __init__(self, config: uvicorn.Config, grace_s: float) -> None:
        super().__init__(config)
        self._grace_s = grace_s
        self.told_to_stop = asyncio.Event()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the connections, and the calls that do not end with theirs."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        give_up_at = time.monotonic() + self._grace_s
        while (state.connections or state.tasks) and time.monotonic() < give_up_at:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    async def main_loop(self) -> None:
        """Wait."""
        await self.on_tick(0)
        await self.told_to_stop.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to pytest."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0, grace_s: float = 1.0) -> AsyncIterator[str]:
    """The base URL, ``http://127.0.0.1:<port>``, of the application while it is served; port 0 takes a free one.

    Calls that have not ended ``grace_s`` after the end are cut off.
    """
    # Named, for asyncio sends small answers at once only on sockets that say they are TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    http: Any = functools.partial(Connection, PendingConnections(ConnectionLimits()))
    config = uvicorn.Config(app, log_config=None, http=http, ws=Socket)
    server = _Server(config, grace_s)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.told_to_stop.set()
        await running
