"""Those who listen to a session: they are told of the turns that others begin."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from api.errors import Moved, TooBusy


@dataclass(frozen=True, slots=True)
class Heard:
    """The next turn that began, and where to listen from afterwards; ``turn_id`` None where none began in time."""

    position: int
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    position: int
    turn_id: str
    listener: str


class Listeners:
    """The latest turns of a session, and those who wait for the next one.

    A turn's position is the number of the session's records up to its start. It is durable, so that a listener goes
    on from it when the session has moved to another actor.

    Args:
        position: of the last turn that began before this actor had the session.
        turn_id: that turn; None where there is none.
    """

    MAX_WAITING = 256
    MAX_REMEMBERED = 64

    def __init__(self, position: int, turn_id: str | None) -> None:
        before = [] if turn_id is None else [_Begun(position, turn_id, "")]
        self._turns = deque(before, maxlen=self.MAX_REMEMBERED)
        self._news = asyncio.Event()
        self._num_waiting = 0
        self._has_stopped = False

    def tell(self, position: int, turn_id: str, listener: str) -> None:
        """A turn has begun, asked for by this listener."""
        self._turns.append(_Begun(position, turn_id, listener))
        self._wake()

    def stop(self) -> None:
        """Send everybody away: the session leaves this actor."""
        self._has_stopped = True
        self._wake()

    async def next(self, after: int, listener: str, wait_s: float) -> Heard:
        """The first turn after a position that another listener asked for, as soon as there is one.

        Raises:
            Moved: the session leaves this actor.
            TooBusy: too many wait already.
        """
        if self._num_waiting >= self.MAX_WAITING:
            raise TooBusy(f"{self.MAX_WAITING} connections listen to this session already")
        self._num_waiting += 1
        try:
            async with asyncio.timeout(wait_s):
                while (begun := self._first(after, listener)) is None:
                    await self._news.wait()
            return Heard(begun.position, begun.turn_id)
        except TimeoutError:
            return Heard(after)
        finally:
            self._num_waiting -= 1

    def _first(self, after: int, listener: str) -> _Begun | None:
        if self._has_stopped:
            raise Moved("the session leaves this actor")
        return next((one for one in self._turns if one.position > after and one.listener != listener), None)

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
