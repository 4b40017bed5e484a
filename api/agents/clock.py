"""The time that a run has left, which stands while the run waits for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class RunClock:
    """Calls ``on_end`` once, when the time is over; never where there is no limit."""

    def __init__(self, limit_s: float | None, on_end: Callable[[], object]) -> None:
        self._left_s = limit_s
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None

    def go(self) -> None:
        """Run from now on. Idempotent."""
        if self._left_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._left_s, self._on_end)

    def stand(self) -> None:
        """Stand from now on. Idempotent."""
        if self._timer is not None and self._left_s is not None:
            self._left_s = max(0.0, self._timer.when() - asyncio.get_running_loop().time())
            self._timer.cancel()
            self._timer = None
