"""A TCP proxy that cuts connections: the network between a client and its server, at its worst."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class CuttingProxy:
    """Relays to a server.

    Attributes:
        limits: bytes that the next connections may carry to the client before they are cut, one entry each, used from
            the front; connections after the last entry are not cut.
        num_connections: accepted so far.
        num_cut: cut so far.
    """

    def __init__(self, target_port: int) -> None:
        self.limits: list[int] = []
        self.num_connections = 0
        self.num_cut = 0
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Cut every connection that is open, so that the next request needs a new one."""
        for writer in self._open:
            writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side leaves or the limit is reached."""
        self.num_connections += 1
        limit = self.limits.pop(0) if self.limits else None
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        self._open.add(writer)
        upwards = asyncio.create_task(_copy(reader, server_writer, None))
        downwards = asyncio.create_task(_copy(server_reader, writer, limit))
        try:
            await asyncio.wait((upwards, downwards), return_when=asyncio.FIRST_COMPLETED)
            self.num_cut += limit is not None
        finally:
            for task in (upwards, downwards):
                task.cancel()
            self._open.discard(writer)
            writer.transport.abort()
            server_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
    """Until the end, or until ``limit`` bytes have gone through."""
    while limit is None or limit > 0:
        try:
            data = await reader.read(4096 if limit is None else min(limit, 4096))
            if not data:
                return
            writer.write(data)
            await writer.drain()
        except OSError:
            return
        if limit is not None:
            limit -= len(data)


@asynccontextmanager
async def proxying(base_url: str) -> AsyncIterator[tuple[str, CuttingProxy]]:
    """The proxy's base URL, and the proxy."""
    port = urlsplit(base_url).port
    assert port is not None
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.relay, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy
    finally:
        server.close()
