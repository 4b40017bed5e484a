"""Whether a function works, or can only wait for what it has called and asked for."""

from __future__ import annotations

import asyncio
from contextvars import Context

from api.agents.asks import Asks
from api.agents.tools import IfExpired
from api.agents.writer import OpenBlock
from api.threads.blocks import Answer


class Activity:
    """Counts the function as active in ``asks`` unless it waits: until the program can do nothing more by itself.

    That is when a timer of no time ends in a program. ``context`` is for what happens then.
    """

    def __init__(self, asks: Asks, context: Context) -> None:
        self._asks, self._context = asks, context
        self._num_working = self._num_waiting = 0
        self._is_idle = self._is_over = False
        self._timer: asyncio.TimerHandle | None = None

    def working(self, change: int) -> None:
        """Change the number of things that the function does by this."""
        self._num_working += change
        self._changed()

    def waiting(self, change: int) -> None:
        """The same, of things that it waits for."""
        self._num_waiting += change
        self._changed()

    async def answer_to(self, block: OpenBlock, if_expired: IfExpired) -> Answer:
        """See ``Asks``."""
        return await self._asks.answer_to(block, if_expired)

    def end(self, has_failed: bool) -> None:
        """See ``Asks``. The function goes on with it."""
        self._changed()
        self._asks.end(has_failed)

    def close(self) -> None:
        """It does not wait any longer, whatever is counted."""
        self._set_idle(False)
        self._is_over = True
        if self._timer:
            self._timer.cancel()

    def _changed(self) -> None:
        if self._is_over:
            return
        self._set_idle(False)
        if self._num_waiting and not self._num_working and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0, self._settle, context=self._context)

    def _settle(self) -> None:
        self._timer = None
        if self._num_waiting and not self._num_working:
            self._set_idle(True)

    def _set_idle(self, is_idle: bool) -> None:
        if self._is_idle != is_idle and not self._is_over:
            self._is_idle = is_idle
            self._asks.active(-1 if is_idle else 1)
