"""The time that a run has left, which stands while the run waits for an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.agents.budget import lower


class RunClock:
    """Calls ``on_end`` once, when the time is over; never where there is no limit."""

    def __init__(self, limit_s: float | None, on_end: Callable[[], object]) -> None:
        self._left_s = limit_s
        self._on_end = on_end
        self._timer: asyncio.TimerHandle | None = None
        self._spent_s = 0.0
        self._since: float | None = None

    def go(self) -> None:
        """Run from now on. Idempotent."""
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        if self._left_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._left_s, self._on_end)

    def stand(self) -> None:
        """Stand from now on. Idempotent."""
        if self._since is not None:
            self._spent_s += asyncio.get_running_loop().time() - self._since
            self._since = None
        if self._timer is not None and self._left_s is not None:
            self._left_s = max(0.0, self._timer.when() - asyncio.get_running_loop().time())
            self._timer.cancel()
            self._timer = None

    def narrow(self, limit_s: float | None) -> None:
        """Let the time, while it runs, be over after so much of it at the latest; what is spent counts."""
        if limit_s is not None:
            self.stand()
            self._left_s = lower(self._left_s, max(0.0, limit_s - self._spent_s))
            self.go()
