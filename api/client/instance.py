"""An inferlet from outside the cluster: its events as they come, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from api.client.remote_errors import error_of
from api.client.retries import Patience
from api.errors import Closed, GreenroomError, InferletEnded, InferletNotFound, Unavailable
from api.inferlet_events import KINDS, Completed, Event, Failed, Lagged, event_of, value_of
from api.values import Value, snapshot, to_json
from api.wire.inferlet_views import InferletView

MAX_UNREAD = 1000
"""Events that wait to be received here; the rest waits in the cluster."""

_CLOSE_NORMAL, _CLOSE_NOT_FOUND = 1000, 4404

OpenSocket = Callable[[int], AbstractAsyncContextManager[ClientConnection]]


class ClientInstance:
    """One inferlet on the server. ``detach`` leaves it running there.

    Every event is received once and in order; after a lost connection this goes on where it was, and what was sent is
    sent again until it is accepted, once.

    Attributes:
        position: of the last event that was received; ``attach_instance(id, after=position)`` goes on after it.
    """

    def __init__(
        self,
        instance_id: str,
        open_socket: OpenSocket,
        ask: Callable[[str], Awaitable[InferletView]],
        after: int,
        patience: Patience,
    ) -> None:
        self.instance_id = instance_id
        self.position = after
        self._open_socket = open_socket
        self._ask = ask
        self._patience = patience
        self._came = after
        self._events: asyncio.Queue[Event] = asyncio.Queue(MAX_UNREAD)
        self._has_news = asyncio.Event()
        self._unaccepted: dict[str, tuple[dict[str, Any], asyncio.Future[int]]] = {}
        self._has_changed = asyncio.Event()
        self._is_leaving = False
        self._over: GreenroomError | None = None
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(lambda _: self._has_news.set())

    def send(self, message: Value) -> Awaitable[int]:
        """A message for the program's ``recv``: text, bytes or JSON. It is sent in the background.

        Await it for the message's position, once it is durable. Messages go one after another, in order.

        Raises:
            InvalidRequest, TooLarge: at once.
            InferletEnded: when awaited.
            TooBusy, Unavailable: when awaited; it was not accepted for as long as this client has patience.
        """
        message = snapshot(message)
        key = uuid4().hex
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        accepted.add_done_callback(_retrieve)
        if self._over:
            accepted.set_exception(self._over)
            return accepted
        view = {"type": "message", "key": key, **to_json(message)}
        self._unaccepted[key] = (view, accepted)
        self._has_changed.set()
        return asyncio.shield(accepted)

    async def recv(self, timeout_s: float | None = None) -> tuple[Event, Value]:
        """The next event, and what it carries.

        Raises:
            TimeoutError: none came in time; nothing is lost by it.
            InferletEnded: its end has been received.
            Closed: this client has detached.
            GreenroomError: the connection is gone for good.
        """
        if self._events.empty():
            async with asyncio.timeout(timeout_s):
                await self._wait_for_event()
        event = self._events.get_nowait()
        self.position = event.position
        return event, value_of(event)

    async def result(self) -> Value:
        """What the program returned, once it has ended; events that were not received are passed over.

        Raises:
            GreenroomError: it failed or was terminated; the sentence says how.
        """
        while True:
            event, value = await self.recv()
            if isinstance(event, Completed):
                return value
            if event.is_end:
                how = isinstance(event, Failed) and event.error or type(event).__name__.lower()
                raise GreenroomError(f"inferlet {self.instance_id} has no result: {how}")

    async def describe(self) -> InferletView:
        """What it is, and how it does."""
        return await self._ask("GET")

    async def terminate(self) -> InferletView:
        """End it. Its last events can still be received."""
        return await self._ask("DELETE")

    async def detach(self) -> None:
        """Leave it running, once it has accepted what was sent. Idempotent."""
        self._is_leaving = True
        while not self._events.empty():
            self._events.get_nowait()
        waiting = [accepted for _, accepted in self._unaccepted.values()]
        await asyncio.gather(*waiting, return_exceptions=True)
        self._end(Closed(f"this client has detached from inferlet {self.instance_id!r}"))
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def __aiter__(self) -> AsyncGenerator[tuple[Event, Value]]:
        """Events and what they carry, to the end."""
        while True:
            event, value = await self.recv()
            yield event, value
            if event.is_end:
                return

    async def _run(self) -> None:
        while self._over is None:
            try:
                async with self._open_socket(self._came) as socket:
                    with self._patience.connected():
                        await self._talk(socket)
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, GreenroomError) as error:
                await self._wait(error)

    async def _wait(self, error: Exception) -> None:
        closed = {
            _CLOSE_NOT_FOUND: InferletNotFound(self.instance_id),
            _CLOSE_NORMAL: InferletEnded(f"the end of inferlet {self.instance_id!r} has been received before"),
        }
        try:
            await self._patience.outlast(error, closed)
        except GreenroomError as last:
            self._end(last)

    async def _wait_for_event(self) -> None:
        while self._events.empty():
            if self._over:
                raise self._over
            if self._running.done():
                self._running.result()
            self._has_news.clear()
            await self._has_news.wait()

    async def _talk(self, socket: ClientConnection) -> None:
        sending = asyncio.create_task(self._send_all(socket))
        try:
            while self._over is None:
                await self._take(json.loads(await socket.recv()))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_all(self, socket: ClientConnection) -> None:
        """Each message when the one before is accepted, until the connection breaks."""
        sent = ""
        while True:
            first = next(iter(self._unaccepted), "")
            if first and first != sent:
                sent = first
                await socket.send(json.dumps(self._unaccepted[first][0]))
            self._has_changed.clear()
            await self._has_changed.wait()

    async def _take(self, view: dict[str, Any]) -> None:
        kind = view["type"]
        if kind in KINDS:
            await self._take_event(event_of(view))
        elif kind == "accepted" and view["key"] in self._unaccepted:
            self._settle(view["key"]).set_result(view["position"])
            self._patience.renew()
        elif kind == "error":
            self._take_error(view)

    async def _take_event(self, event: Event) -> None:
        if event.position <= self._came:
            return
        if event.position != self._came + (event.missed if isinstance(event, Lagged) else 1):
            raise Unavailable(f"event {event.position} came instead of {self._came + 1}")
        self._patience.renew()
        if not self._is_leaving:
            await self._events.put(event)
            self._has_news.set()
        self._came = event.position
        if event.is_end:
            self._end(InferletEnded(f"inferlet {self.instance_id!r} has ended"))

    def _take_error(self, view: dict[str, Any]) -> None:
        error, key = error_of(view["code"], view["message"]), view.get("key")
        if key not in self._unaccepted or error.retryable:
            raise error
        self._settle(key).set_exception(error)

    def _settle(self, key: str) -> asyncio.Future[int]:
        """A message has its answer, and the next one goes."""
        _, accepted = self._unaccepted.pop(key)
        self._has_changed.set()
        return accepted

    def _end(self, error: GreenroomError) -> None:
        self._over = self._over or error
        self._has_news.set()
        while self._unaccepted:
            _, accepted = self._unaccepted.popitem()[1]
            if not accepted.done():
                accepted.set_exception(error)


def _retrieve(accepted: asyncio.Future[int]) -> None:
    """Retrieve the exception so that asyncio does not log it when no caller awaits this message."""
    if not accepted.cancelled():
        accepted.exception()
