"""The side that calls an actor."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ray.exceptions import RayActorError

from actors.calls.wire import Wire, address, dumps, is_used, loads
from api.errors import GreenroomError


class Disconnected(RayActorError):  # type: ignore[misc]
    """The actor's process has ended; a call under way has run, or has not."""


class ActorFailed(Exception):
    """A bug in the actor, with its traceback."""


class Connections:
    """To the actors of this machine that are called; one per event loop.

    An actor that does not listen, most often since it is on another machine, is tried again after ``RETRY_S``.
    """

    RETRY_S = 1.0
    MAX_ABSENT = 4096

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._connecting: dict[str, asyncio.Task[Connection | None]] = {}
        self._absent: dict[str, float] = {}
        self._is_used = is_used()

    async def get(self, actor_id: str) -> Connection | None:
        """An open connection; None where there is none to be had."""
        connection = self._connections.get(actor_id)
        if connection is not None and connection.is_open:
            return connection
        if not self._is_used or self._absent.get(actor_id, 0.0) > asyncio.get_running_loop().time():
            return None
        if actor_id not in self._connecting:
            self._connecting[actor_id] = asyncio.create_task(self._connect(actor_id))
        return await asyncio.shield(self._connecting[actor_id])

    async def _connect(self, actor_id: str) -> Connection | None:
        loop = asyncio.get_running_loop()
        connection = Connection(lambda connection: self._lost(actor_id, connection))
        try:
            await loop.create_unix_connection(connection.wire, sock=_connected(address(actor_id)))
            if not connection.is_open:
                raise ConnectionRefusedError("not a process of this user")
        except OSError:
            if len(self._absent) >= self.MAX_ABSENT:
                self._absent.clear()
            self._absent[actor_id] = loop.time() + self.RETRY_S
            return None
        finally:
            del self._connecting[actor_id]
        self._absent.pop(actor_id, None)
        self._connections[actor_id] = connection
        return connection

    def _lost(self, actor_id: str, connection: Connection) -> None:
        if self._connections.get(actor_id) is connection:
            del self._connections[actor_id]


def _connected(name: str) -> socket.socket:
    """A socket; uvloop itself cannot connect to abstract ones."""
    connected = socket.socket(socket.AF_UNIX)
    try:
        connected.setblocking(False)
        connected.connect(name)
    except OSError:
        connected.close()
        raise
    return connected


class Connection:
    """To one actor: any number of calls at a time.

    Args:
        lost: is called with it when it has ended.
    """

    def __init__(self, lost: Callable[[Connection], object]) -> None:
        self._lost = lost
        self._numbers = itertools.count()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._wire = Wire(self._answered, self._ended)

    @property
    def is_open(self) -> bool:
        """A call may be made."""
        return self._wire.is_open

    def wire(self) -> Wire:
        """What it runs over."""
        return self._wire

    async def call(self, arguments: tuple[Any, ...]) -> Any:
        """The answer of the actor's ``call``, which runs on where its caller is cancelled.

        Raises:
            GreenroomError: as the actor raised it.
            Disconnected: the actor's process has ended.
            ActorFailed: a bug in the actor.
        """
        if not self.is_open:
            raise Disconnected
        number = next(self._numbers)
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self._wire.send(number, dumps(arguments))
            answer, error = await future
        finally:
            del self._calls[number]
        if isinstance(error, GreenroomError):
            raise error
        if error is not None:
            raise ActorFailed(error)
        return answer

    def _answered(self, wire: Wire, number: int, pickled: bytes) -> None:
        future = self._calls.get(number)
        if future is None or future.done():
            return
        try:
            future.set_result(loads(pickled))
        except Exception as error:
            future.set_exception(error)

    def _ended(self, wire: Wire) -> None:
        self._lost(self)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(Disconnected())


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Connections] = WeakKeyDictionary()


async def connection_to(actor: Any) -> Connection | None:
    """A connection of this event loop to the process of an actor; None where calls must go through Ray."""
    loop = asyncio.get_running_loop()
    if (connections := _by_loop.get(loop)) is None:
        connections = _by_loop[loop] = Connections()
    return await connections.get(actor._actor_id.hex())
