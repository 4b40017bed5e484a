"""One HTTP connection: uvicorn's protocol, which by itself waits for ever for the rest of a request."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from api.http.limits import is_stream
from api.http.server.pending import Awaited, Expiring, PendingConnections


class Connection(HttpToolsProtocol, Expiring):
    """Ends with 408 when the head or the body does not come in time, with 431 when the head is too large, and with 503
    when it is the oldest of too many that have not sent a whole head.
    """

    def __init__(
        self,
        pending: PendingConnections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._pending = pending
        self._is_in_message = self._has_head = False
        self._num_head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._pending.set(self, "head")
        if len(self.connections) > self._pending.limits.max_connections:
            self._pending.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pending.set(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._num_head_bytes = self._num_head_bytes + len(data) if self._is_in_message and not self._has_head else 0
        if self._num_head_bytes > self._pending.limits.max_head_bytes:
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self.transport.get_protocol() is self:
            self._pending.set(self, self._awaited())

    def handle_websocket_upgrade(self) -> None:
        self._pending.set(self, None)
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        self._is_in_message, self._has_head = True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # else it is a field after a body in chunks: nobody reads those, and they have no bound
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_head = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._pending.set(self, "close" if self.transport.is_closing() else self._awaited())

    @override
    def expire(self, awaited: Awaited) -> None:
        """A body whose parts this server does not take yet is not late."""
        if awaited in ("idle", "close"):
            self._end(None)
        elif awaited == "body" and (self.flow.read_paused or self.cycle.waiting_for_100_continue):
            self._pending.set(self, awaited)
        else:
            self._end(HTTPStatus.REQUEST_TIMEOUT)

    @override
    def shutdown(self) -> None:
        """Of answers that have begun, streams that are read with GET end here: who reads one asks another server for
        what comes next. All else goes on to its end.
        """
        super().shutdown()
        cycle = self.cycle
        is_begun = cycle is not None and cycle.response_started and not cycle.response_complete
        if is_begun and cycle.scope["method"] == "GET" and is_stream(dict(cycle.scope)):
            self.transport.close()

    @override
    def make_room(self) -> None:
        self._end(HTTPStatus.SERVICE_UNAVAILABLE if self._is_in_message else None)

    def _awaited(self) -> Awaited | None:
        if self.cycle is not None and not self.cycle.response_complete:
            return "body" if self._is_in_body else None
        return "head" if self._is_in_message or self.cycle is None else "idle"

    @property
    def _is_in_body(self) -> bool:
        return self._is_in_message and self._has_head

    def _end(self, status: HTTPStatus | None) -> None:
        """Close, with a status where no answer has begun; at once if the client does not read what is sent to it."""
        is_stuck = self.transport.get_write_buffer_size() > 0
        has_begun = self.cycle is not None and self.cycle.response_started
        has_begun = has_begun and (self._is_in_body or not self.cycle.response_complete)
        if is_stuck or has_begun or self.transport.is_closing():
            self._pending.set(self, None)
            self.transport.abort()
            return
        if status is not None:
            retry = "retry-after: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\nconnection: close\r\ncontent-length: 0\r\n{retry}\r\n"
            self.transport.write(head.encode())
        self.transport.close()
        self._pending.set(self, "close")


class Socket(WebSocketsSansIOProtocol):
    """A WebSocket; one whose client answers no ping ends at once, though there be frames that it has not read."""

    def keepalive_timeout(self) -> None:
        is_stuck = self.transport.get_write_buffer_size() > 0
        super().keepalive_timeout()
        if is_stuck:
            self.transport.abort()
