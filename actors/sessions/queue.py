"""The order of a session's turns: one runs, the others wait in a bounded queue."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from api.errors import TooBusy


class TurnQueue:
    """A first-come, first-served lock whose waiters have names, so that one can be told to leave."""

    def __init__(self, max_waiting: int) -> None:
        self.max_waiting = max_waiting
        self._waiting: OrderedDict[str, asyncio.Future[bool]] = OrderedDict()
        self._is_taken = False

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return not self._is_taken and not self._waiting

    def check_room(self) -> None:
        """Whether one more may enter or wait.

        Raises:
            TooBusy: the queue is full.
        """
        if self._is_taken and len(self._waiting) >= self.max_waiting:
            raise TooBusy(f"{self.max_waiting} turns are waiting in this session already")

    async def enter(self, turn_id: str) -> bool:
        """Wait for one's place; False where the turn was told to leave meanwhile.

        Raises:
            TooBusy: the queue is full.
        """
        if not self._is_taken:
            self._is_taken = True
            return True
        self.check_room()
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[turn_id] = future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.leave()
            raise
        finally:
            self._waiting.pop(turn_id, None)

    def leave(self) -> None:
        """The running turn is over; the next one enters."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(True)
                return
        self._is_taken = False

    def dismiss(self, turn_id: str) -> bool:
        """Tell a waiting turn to leave; False where it does not wait."""
        future = self._waiting.get(turn_id)
        if future is None or future.done():
            return False
        future.set_result(False)
        return True

    def dismiss_all(self) -> None:
        """Tell every waiting turn to leave."""
        for turn_id in list(self._waiting):
            self.dismiss(turn_id)
