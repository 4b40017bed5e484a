"""The side of an actor that is called."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import ray

from actors.calls.scope import Scope
from actors.calls.wire import Wire, address, dumps, is_used, loads
from api.errors import GreenroomError
from api.logs import event_logger

log = event_logger("greenroom.local")

_servers: list[asyncio.AbstractServer | None] = []
"""Of this process: uvloop closes one that is not kept; None while it is made."""


async def listen(call: Callable[..., Awaitable[Any]]) -> None:
    """Let other processes of this machine make this call of this process's actor, on this event loop.

    Again: nothing happens. Calls begin in the order in which each caller made them, and run at once. Where a process
    cannot listen, they go through Ray.
    """
    if _servers or not is_used():
        return
    name = address(ray.get_runtime_context().get_actor_id())
    _servers.append(None)
    try:
        _servers.append(await asyncio.get_running_loop().create_unix_server(Calls(call).wire, name))
    except OSError as error:
        log.warning("calls from this machine go through Ray", error=str(error))


class Calls:
    """What has been asked of an actor and is not answered yet."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call
        self._scope = Scope()

    def wire(self) -> Wire:
        """For one more caller."""
        return Wire(self._received, lambda wire: None)

    def _received(self, wire: Wire, number: int, pickled: bytes) -> None:
        self._scope.start(self._answer(wire, number, pickled))

    async def _answer(self, wire: Wire, number: int, pickled: bytes) -> None:
        try:
            answer = dumps((await self._call(*loads(pickled)), None))
        except GreenroomError as error:
            answer = dumps((None, error))
        except Exception:
            answer = dumps((None, traceback.format_exc()))
        if wire.is_open:
            wire.send(number, answer)
