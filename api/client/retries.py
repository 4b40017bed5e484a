"""How a client waits between two tries: longer each time, never in step with others, and not for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.errors import GreenroomError, Unauthorized, Unavailable, reason_of

_HTTP_UNAUTHORIZED, _CLOSE_UNAUTHORIZED = (401, 403), 1008

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
LASTING_S = 5.0
"""A connection that held for so long was progress, even if nothing came over it."""


def unreachable(url: str, error: Exception) -> Unavailable:
    """The server did not answer, or its connection broke."""
    return Unavailable(f"the server at {url} cannot be reached: {reason_of(error)}")


class Patience:
    """The waits of one task, which starts afresh whenever there is progress.

    Args:
        limit_s: how long to go on trying without any progress.
        url: of the server.
    """

    def __init__(self, limit_s: float, url: str) -> None:
        self._limit_s = limit_s
        self._url = url
        self._num_failures = 0
        self._deadline: float | None = None

    def renew(self) -> None:
        """There was progress."""
        self._num_failures = 0
        self._deadline = None

    @contextmanager
    def connected(self) -> Iterator[None]:
        """While there is a connection."""
        began = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            if asyncio.get_running_loop().time() - began >= LASTING_S:
                self.renew()

    async def outlast(self, error: Exception, closed: Mapping[int, GreenroomError] | None = None) -> None:
        """Wait before the next try, for as long as the server asks for, where trying again can help.

        Args:
            error: what has ended the last try.
            closed: what the server's close codes say, of those that are final here.

        Raises:
            GreenroomError: what the error means, where it is final or waiting would exceed the limit.
        """
        meaning = self._meaning(error, closed or {})
        if not meaning.retryable:
            raise meaning from (None if meaning is error else error)
        await self.wait(meaning, meaning.retry_after_s if meaning is error else 0.0)

    def _meaning(self, error: Exception, closed: Mapping[int, GreenroomError]) -> GreenroomError:
        code = error.rcvd.code if isinstance(error, ConnectionClosed) and error.rcvd else None
        status = error.response.status_code if isinstance(error, InvalidStatus) else None
        if isinstance(error, GreenroomError):
            return error
        if code == _CLOSE_UNAUTHORIZED or status in _HTTP_UNAUTHORIZED:
            return Unauthorized("the API key is missing or not known")
        return closed.get(code or 0) or unreachable(self._url, error)

    async def wait(self, error: GreenroomError, at_least_s: float | None = None) -> None:
        """Wait before the next try.

        Raises:
            GreenroomError: the given one, when waiting would exceed the limit.
        """
        now = asyncio.get_running_loop().time()
        if self._deadline is None:
            self._deadline = now + self._limit_s
        longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**self._num_failures)
        delay_s = max(at_least_s or 0.0, longest * random.uniform(0.5, 1.0))
        if now + delay_s > self._deadline:
            raise error
        self._num_failures += 1
        await asyncio.sleep(delay_s)
