"""Programs that a program starts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from api.errors import GreenroomError, InvalidRequest
from api.inferlet.checks import checked_timeout
from api.inferlet.effects import ChildEvent, Launch, NextChildEvent, SendToChild, TerminateChild
from api.inferlet.host import host
from api.names import check_name
from api.values import Value, snapshot


class ChildFailed(GreenroomError):
    """A child ended without a result; the sentence says how."""

    code = "child_failed"


async def launch(program: str, arguments: Sequence[str] = (), name: str | None = None) -> Child:
    """Start a child: a program by the SHA-256 of its source, or ``module:function`` from the configured list.

    Raises:
        InvalidRequest: an argument is no text, or the name is none; see ``check_name``.
        NotFound: there is no such program.
        TooBusy: as many as are allowed are there.
    """
    if isinstance(arguments, str) or not all(isinstance(argument, str) for argument in arguments):
        raise InvalidRequest("the arguments of a program are a list of texts")
    if name is not None:
        check_name("the name of an inferlet", name)
    return Child(await host().begin(Launch(program, tuple(arguments), name)))


class Child:
    """An inferlet that this one has launched. It goes on when its parent ends."""

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self._position = -1
        self._end: ChildEvent | None = None
        self._lock = asyncio.Lock()

    async def send(self, message: Value) -> None:
        """A message, which it gets by ``recv``."""
        await host().begin(SendToChild(self.instance_id, snapshot(message)))

    async def recv(self, timeout_s: float | None = None) -> Any:
        """The next message that it sent; of a child that continues as new, the next that is kept for late readers.

        Raises:
            TimeoutError: none came in time.
            ChildFailed: it has ended, and there will be none.
        """
        event = await self._next(timeout_s)
        if event.kind != "Message":
            raise ChildFailed(f"child {self.instance_id} sends nothing more: {_how(event)}")
        return event.value

    async def result(self, timeout_s: float | None = None) -> Any:
        """What it returned, once it has ended; messages that were not received are passed over.

        Raises:
            TimeoutError: it did not end in time (counted from the last message).
            ChildFailed: it failed, or was terminated.
        """
        while (event := await self._next(timeout_s)).kind == "Message":
            pass
        if event.kind != "Completed":
            raise ChildFailed(f"child {self.instance_id} has no result: {_how(event)}")
        return event.value

    async def terminate(self) -> None:
        """End it. Idempotent."""
        await host().begin(TerminateChild(self.instance_id))

    async def _next(self, timeout_s: float | None) -> ChildEvent:
        timeout_s = checked_timeout(timeout_s)
        async with self._lock:
            if self._end:
                return self._end
            event = await host().begin(NextChildEvent(self.instance_id, self._position, timeout_s))
            if event is None:
                raise TimeoutError(f"nothing came from child {self.instance_id} within {timeout_s} s")
            self._position = event.position
            if event.kind != "Message":
                self._end = event
            return event


def _how(end: ChildEvent) -> str:
    """How it ended: the lines of its own traceback where it failed."""
    match end.kind:
        case "Failed":
            return "it failed\n" + indent(str(end.value), "    ").rstrip()
        case "Completed":
            return "it has returned"
        case "Lost":
            return "its process died, and it is not durable"
        case _:
            return "it was terminated"
