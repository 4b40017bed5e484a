"""An inferlet from outside the cluster: its events as they come, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from api.errors import Conflict, GreenroomError, InferletNotFound, Unauthorized, Unavailable
from api.inferlet_events import KINDS, Completed, Event, Failed, event_of, value_of
from api.inferlet_views import InferletView
from api.patience import Patience
from api.remote_errors import error_of
from api.values import Value, encode, to_json

MAX_UNREAD = 1000
"""Events that wait to be received here; behind them the rest waits in the cluster."""

_HTTP_UNAUTHORIZED = (401, 403)
_CLOSE_UNAUTHORIZED, _CLOSE_NOT_FOUND = 1008, 4404

OpenSocket = Callable[[int], AbstractAsyncContextManager[ClientConnection]]


class ClientInstance:
    """One inferlet on the server. ``detach`` leaves it running there.

    Every event is received once and in order; after a lost connection this goes on where it was, and what was sent is
    sent again until it is accepted, once.

    Attributes:
        position: of the last event that was received; ``attach_instance(id, after=position)`` goes on behind it.
    """

    def __init__(
        self,
        instance_id: str,
        open_socket: OpenSocket,
        ask: Callable[[str], Awaitable[InferletView]],
        after: int,
        patience_s: float,
    ) -> None:
        self.instance_id = instance_id
        self.position = after
        self._open_socket = open_socket
        self._ask = ask
        self._patience = Patience(patience_s)
        self._came = after
        self._events: asyncio.Queue[Event | GreenroomError] = asyncio.Queue(MAX_UNREAD)
        self._unaccepted: dict[str, tuple[dict[str, Any], asyncio.Future[int]]] = {}
        self._socket: ClientConnection | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._over: GreenroomError | None = None
        self._running = asyncio.create_task(self._run())

    def send(self, message: Value) -> Awaitable[int]:
        """A message for the program's ``recv``: text, bytes or JSON. It is on its way when this returns.

        Await it for the message's position, once it is durable.

        Raises:
            InvalidRequest, TooLarge: at once.
            Conflict: when awaited; the inferlet has ended.
        """
        encode(message)
        key = uuid4().hex
        accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        accepted.add_done_callback(_retrieve)
        if self._over:
            accepted.set_exception(self._over)
            return accepted
        view = {"type": "message", "key": key, **to_json(message)}
        self._unaccepted[key] = (view, accepted)
        if self._socket:
            task = asyncio.create_task(self._send_on(self._socket, view))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return asyncio.shield(accepted)

    async def recv(self, timeout_s: float | None = None) -> tuple[Event, Value]:
        """The next event, and what it carries.

        Raises:
            TimeoutError: none came in time; nothing is lost by it.
            Conflict: its end has been received.
            GreenroomError: the connection is gone for good.
        """
        if self._over and self._events.empty():
            raise self._over
        async with asyncio.timeout(timeout_s):
            event = await self._events.get()
        if isinstance(event, GreenroomError):
            raise event
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
                how = event.error if isinstance(event, Failed) else type(event).__name__.lower()
                raise GreenroomError(f"inferlet {self.instance_id} has no result: {how}")

    async def describe(self) -> InferletView:
        """What it is, and how it does."""
        return await self._ask("GET")

    async def terminate(self) -> InferletView:
        """End it. Its last events can still be received."""
        return await self._ask("DELETE")

    async def detach(self) -> None:
        """Leave it running, once it has accepted what was sent. Idempotent."""
        waiting = [accepted for _, accepted in self._unaccepted.values()]
        await asyncio.gather(*waiting, return_exceptions=True)
        self._running.cancel()
        await asyncio.gather(self._running, *self._sending, return_exceptions=True)
        self._end(Conflict(f"this client has detached from inferlet {self.instance_id!r}"))

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
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as error:
                await self._wait(error)
            except GreenroomError as error:
                await self._give_up(error)
            finally:
                self._socket = None

    async def _wait(self, error: Exception) -> None:
        try:
            await self._patience.wait(self._what_it_means(error))
        except GreenroomError as last:
            await self._give_up(last)

    async def _give_up(self, error: GreenroomError) -> None:
        self._end(error)
        await self._events.put(error)

    async def _talk(self, socket: ClientConnection) -> None:
        for view, _ in list(self._unaccepted.values()):
            await socket.send(json.dumps(view))
        self._socket = socket
        while self._over is None:
            await self._take(json.loads(await socket.recv()))

    async def _take(self, view: dict[str, Any]) -> None:
        kind = view["type"]
        if kind in KINDS:
            await self._take_event(event_of(view))
        elif kind == "accepted" and view["key"] in self._unaccepted:
            _, accepted = self._unaccepted.pop(view["key"])
            accepted.set_result(view["position"])
        elif kind == "error":
            self._take_error(view)

    async def _take_event(self, event: Event) -> None:
        if event.position <= self._came:
            return
        if event.position != self._came + 1:
            raise Unavailable(f"event {event.position} came instead of {self._came + 1}")
        self._patience.renew()
        await self._events.put(event)
        self._came = event.position
        if event.is_end:
            self._end(Conflict(f"inferlet {self.instance_id!r} has ended"))

    def _take_error(self, view: dict[str, Any]) -> None:
        error = error_of(view["code"], view["message"])
        if view.get("key") not in self._unaccepted:
            raise error
        if not error.retryable:
            _, accepted = self._unaccepted.pop(view["key"])
            accepted.set_exception(error)

    async def _send_on(self, socket: ClientConnection, view: dict[str, Any]) -> None:
        try:
            await socket.send(json.dumps(view))
        except ConnectionClosed:
            return  # it is sent again with the next connection

    def _end(self, error: GreenroomError) -> None:
        self._over = self._over or error
        while self._unaccepted:
            _, accepted = self._unaccepted.popitem()[1]
            if not accepted.done():
                accepted.set_exception(error)

    def _what_it_means(self, error: Exception) -> GreenroomError:
        """The error to raise when patience ends; raises at once what trying again cannot mend."""
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            if error.rcvd.code == _CLOSE_UNAUTHORIZED:
                raise Unauthorized("the API key is missing or not known") from error
            if error.rcvd.code == _CLOSE_NOT_FOUND:
                raise InferletNotFound(self.instance_id) from error
        if isinstance(error, InvalidStatus) and error.response.status_code in _HTTP_UNAUTHORIZED:
            raise Unauthorized("the API key is missing or not known") from error
        return Unavailable(f"the server cannot be reached: {error or type(error).__name__}")


def _retrieve(accepted: asyncio.Future[int]) -> None:
    """Nobody may be waiting."""
    if not accepted.cancelled():
        accepted.exception()
