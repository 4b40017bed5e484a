"""The connections whose client has to send, or to read, something before there is anything to do for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Awaited = Literal["head", "body", "idle", "close"]
"""What a connection's client owes: the rest of a request's head, of its body, nothing, between two requests, or to read
the rest of what was sent to it before the connection was closed.
"""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may leave open, and for how long.

    Attributes:
        head_timeout_s: from the connection's start, or the first byte of a later request, to the end of the head.
        body_timeout_s: between two parts of a body.
        idle_timeout_s: from the end of an answer to the next request, and for the client to have read the answer.
        close_timeout_s: for the client to read the rest, from the end of the connection.
        max_head_bytes: of request line and header fields.
        max_waiting: connections without a whole head, and idle ones; one more ends the one that is idle longest,
            else the one that has waited longest.
        max_connections: of any kind, sockets included; one more ends one too, that waits or is closed.
    """

    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    close_timeout_s: float = 10.0
    max_head_bytes: int = 64 << 10
    max_waiting: int = 1000
    max_connections: int = 10_000

    def timeout_s(self, awaited: Awaited) -> float:
        """How long it may be awaited."""
        return {
            "head": self.head_timeout_s,
            "body": self.body_timeout_s,
            "idle": self.idle_timeout_s,
            "close": self.close_timeout_s,
        }[awaited]


class Expiring(Protocol):
    """A connection, as this module sees it."""

    def expire(self, awaited: Awaited) -> None:
        """The client took too long: end the connection, or have it wait anew."""
        ...

    def make_room(self) -> None:
        """End the connection, since others came."""
        ...


class PendingConnections:
    """Ends connections that are awaited for too long, and the oldest where they are too many.

    Each kind is in the order of its deadlines, which all lie equally far ahead when they are set.
    """

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._kinds: dict[Expiring, Awaited] = {}
        self._deadlines: dict[Awaited, dict[Expiring, float]] = {"idle": {}, "head": {}, "close": {}, "body": {}}

    def set(self, connection: Expiring, awaited: Awaited | None) -> None:
        """What is awaited of it from now on; a body, again, gets its time anew, and else the time goes on."""
        before = self._kinds.get(connection)
        if before == awaited and awaited != "body":
            return
        if before is not None:
            del self._kinds[connection], self._deadlines[before][connection]
        if awaited is not None:
            self._kinds[connection] = awaited
            self._deadlines[awaited][connection] = self._clock() + self.limits.timeout_s(awaited)
            if awaited in ("head", "idle") and self._num_waiting > self.limits.max_waiting:
                self.make_room()

    def make_room(self) -> None:
        """End one, if there is one."""
        oldest = next((next(iter(kind)) for name, kind in self._deadlines.items() if kind and name != "body"), None)
        if oldest is not None:
            self.set(oldest, None)
            oldest.make_room()

    def sweep(self) -> None:
        """End those whose time is over."""
        now = self._clock()
        for awaited, deadlines in self._deadlines.items():
            over = []
            for connection, deadline in deadlines.items():
                if deadline > now:
                    break
                over.append(connection)
            for connection in over:
                self.set(connection, None)
                connection.expire(awaited)

    @property
    def _num_waiting(self) -> int:
        return len(self._deadlines["idle"]) + len(self._deadlines["head"])
