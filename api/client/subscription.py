"""A topic on the client's side: its events over as many connections as it takes, without loss or repeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import quote

import httpx
from typing_extensions import override

from api.client.event_lines import events_in
from api.client.remote_errors import error_of
from api.client.retries import Patience
from api.errors import Closed, GreenroomError, InvalidRequest, Unavailable
from api.names import TopicId
from api.topics import Cursor, Subscription, TopicEvent
from api.values import Value
from api.wire.topic_views import event_of

MAX_WAITING = 256
"""Events that have come and were not taken yet; then the server waits."""

OpenStream = Callable[[dict[str, str]], AbstractAsyncContextManager[httpx.Response]]


class ClientSubscription(Subscription):
    """One reader of one topic; a ``Subscription``. Made by ``Client.subscribe``.

    It comes back by itself when its connection breaks, and goes on where it was. What a call that timed out or was
    cancelled did not take, stays.
    """

    def __init__(
        self, topic: TopicId, open_stream: OpenStream, patience: Patience, after: Cursor | None, replay: bool
    ) -> None:
        self.topic = topic
        self._open_stream = open_stream
        self._place = str(after) if after else ""
        self._cursor = after or Cursor("", -1)
        self._replay = replay
        self._patience = patience
        self._events: asyncio.Queue[TopicEvent] = asyncio.Queue(MAX_WAITING)
        self._has_news = asyncio.Event()
        self._is_closed = False
        self._is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._has_news.set())

    @property
    @override
    def cursor(self) -> Cursor:
        return self._cursor

    async def opened(self) -> None:
        """Once the server has taken it up: what is published from now on comes.

        Raises:
            GreenroomError: it did not.
        """
        await asyncio.wait((self._is_open, self._reading), return_when=asyncio.FIRST_COMPLETED)
        if not self._is_open.done():
            await self._reading

    @override
    async def recv(self, timeout_s: float | None = None) -> TopicEvent:
        """An error other than of time is final."""
        if self._events.empty():
            async with asyncio.timeout(timeout_s):
                await self._wait()
        event = self._events.get_nowait()
        self._cursor = event.cursor
        return event

    @override
    async def close(self) -> None:
        self._is_closed = True
        self._reading.cancel()
        await asyncio.wait((self._reading,))

    async def _read(self) -> None:
        while True:
            try:
                await self._follow()
                raise Unavailable("the server ended the stream")
            except (httpx.TransportError, httpx.StreamError, GreenroomError) as error:
                await self._patience.outlast(error)

    async def _follow(self) -> None:
        """One connection, until it breaks."""
        query = {} if self._replay else {"replay": "false"}
        if self._place:
            query["after"] = self._place
        async with self._open_stream(query) as response:
            async for name, data, event_id in events_in(response.aiter_lines()):
                self._patience.renew()
                if name == "error":
                    raise error_of(data["code"], data["message"])
                event = event_of(name, data)
                if event is not None:
                    await self._events.put(event)
                    self._has_news.set()
                self._place = event_id or self._place
                if not self._is_open.done():
                    self._is_open.set_result(None)

    async def _wait(self) -> None:
        """Until there is an event to take."""
        while self._events.empty():
            if self._is_closed:
                raise Closed("the subscription is closed")
            if self._reading.done():
                self._reading.result()
            self._has_news.clear()
            await self._has_news.wait()


def named_path(kind: str, name: str) -> str:
    """Where a topic or a queue is, on the server.

    Raises:
        InvalidRequest: it cannot have this name.
    """
    if TopicId(name).name in (".", ".."):
        raise InvalidRequest(f"no address can name {name!r}")
    parts = [quote(part, safe="") for part in name.split("/")]
    slash = "%2F" if "." in parts or ".." in parts else "/"  # an address would take these for folders
    return f"/api/{kind}/{slash.join(parts)}"


def message_body(message: Value) -> tuple[bytes, str]:
    """The body that says a message, and its content type."""
    if isinstance(message, str):
        return _utf8(message), "text/plain; charset=utf-8"
    if isinstance(message, bytes):
        return message, "application/octet-stream"
    return json.dumps(message, allow_nan=False).encode(), "application/json"


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("the text has lone surrogates, which are no characters") from None
