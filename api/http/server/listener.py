"""Listening for clients."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from api.errors import Unavailable
from api.http.server.connection import Connection, Socket
from api.http.server.pending import ConnectionLimits, PendingConnections

_OWN_DESCRIPTORS = 256
"""Of this process for all else than clients."""

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""Of a client that has vanished the kernel tells after two minutes."""


class Listener:
    """Serves an application to clients on one address, in the event loop that starts it.

    Several processes of one user may listen on one address, and each connection goes to one of them: so a gateway that
    replaces another begins before that ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        max_message_bytes: int,
        limits: ConnectionLimits | None = None,
        grace_s: float = 7.0,
    ) -> None:
        self._host, self._port = host, port
        limits = limits or replace(ConnectionLimits(), max_connections=_num_descriptors() - _OWN_DESCRIPTORS)
        pending = PendingConnections(limits)
        config: Any = {
            "http": functools.partial(Connection, pending),
            "ws": Socket,
            "ws_per_message_deflate": False,  # a token's frame is small, and a compressed one may hold any amount
            "timeout_keep_alive": limits.idle_timeout_s,
            "timeout_graceful_shutdown": grace_s,
            "lifespan": "off",
            "log_config": None,
            "log_level": "warning",
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
        }
        self._config = uvicorn.Config(app, **config)
        self.limit_messages(max_message_bytes)
        self._server = _Server(self._config, pending)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns when clients can connect.

        Raises:
            Unavailable: this machine cannot listen there.
        """
        try:
            sockets = _listen(self._host, self._port)
        except OSError as error:
            where = f"{self._host} port {self._port}"
            raise Unavailable(f"cannot listen on {where}: {error.strerror or type(error).__name__}") from None
        self._serving = asyncio.create_task(self._server.serve(sockets))
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(0.005)

    def limit_messages(self, max_bytes: int) -> None:
        """Sockets that open from now on end with a message of more than twice so many bytes.

        The application refuses what is larger than once, in words.
        """
        self._config.ws_max_size = 2 * max_bytes

    def check(self) -> None:
        """Whether it still listens.

        Raises:
            Unavailable: it does not.
        """
        if self._serving is None or self._serving.done():
            raise Unavailable(f"nothing listens on {self._host} port {self._port}")

    async def stop(self) -> None:
        """Accept no connection; answers that have begun get ``grace_s``, sockets are told to come again. Idempotent."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait((self._serving,))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, pending: PendingConnections) -> None:
        super().__init__(config)
        self._pending = pending

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process has an owner, who asks it to end

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0:
            self._pending.sweep()
        return await super().on_tick(counter)


def _listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host; "" is all of this machine."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited by what it accepts
            for option, value in _KEEPALIVE:
                listener.setsockopt(socket.IPPROTO_TCP, option, value)
            listener.bind(address)
            listener.setblocking(False)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def _num_descriptors() -> int:
    """As many as this process may have, after asking for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft
