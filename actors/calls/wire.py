"""Messages between two processes of one machine and one user."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from ray import cloudpickle
from ray.actor import ActorHandle
from typing_extensions import override

_HEADER = struct.Struct(">IQ")
_CREDENTIALS = struct.Struct("3i")

_handles: WeakValueDictionary[str, ActorHandle] = WeakValueDictionary()
_pickled: WeakKeyDictionary[ActorHandle, bytes] = WeakKeyDictionary()


SWITCH = "GREENROOM_LOCAL_CALLS"
"""The environment variable that turns these calls off where it is 0: then all go through Ray."""


def is_used() -> bool:
    """Whether this process calls, and is called, so."""
    return sys.platform == "linux" and os.environ.get(SWITCH) != "0"


def address(actor_id: str) -> str:
    """Where an actor listens: an abstract Unix socket, which is gone with its process."""
    return f"\0greenroom-{actor_id}"


class Wire(asyncio.Protocol):
    """One connection: numbered messages, each a pickle after its length, in the order in which they were sent.

    Pickles are trusted as far as their sender: a process of the same user, or the connection is closed at once.

    Args:
        received: is given each message's number and pickle.
        lost: is called when the connection has ended.
    """

    def __init__(self, received: Callable[[Wire, int, bytes], object], lost: Callable[[Wire], object]) -> None:
        self._received = received
        self._lost = lost
        self._buffer = bytearray()
        self._transport: Any

    @property
    def is_open(self) -> bool:
        """Something may be sent."""
        return bool(not self._transport.is_closing())

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if not _is_own(transport.get_extra_info("socket")):
            transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            length, number = _HEADER.unpack_from(self._buffer, start)
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            self._received(self, number, bytes(self._buffer[start + _HEADER.size : end]))
            start = end
        del self._buffer[:start]

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)

    def send(self, number: int, pickled: bytes) -> None:
        """Send a message."""
        self._transport.write(_HEADER.pack(len(pickled), number) + pickled)


def _is_own(peer: socket.socket) -> bool:
    _, user, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return bool(user == os.getuid())


def dumps(message: Any) -> bytes:
    """A pickle that ``loads`` takes."""
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(message)
    return file.getvalue()


def loads(pickled: bytes) -> Any:
    """What was pickled."""
    return pickle.loads(pickled)


class _Pickler(pickle.Pickler):
    """Handles to actors are made once in a process: making one takes Ray a millisecond."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, ActorHandle):
            return _handle, (obj._actor_id.hex(), _pickled_handle(obj))
        return NotImplemented


def _pickled_handle(handle: ActorHandle) -> bytes:
    if (pickled := _pickled.get(handle)) is None:
        pickled = _pickled[handle] = cloudpickle.dumps(handle)
    return pickled


def _handle(actor_id: str, pickled: bytes) -> ActorHandle:
    if (handle := _handles.get(actor_id)) is None:
        handle = _handles[actor_id] = cloudpickle.loads(pickled)
    return handle
