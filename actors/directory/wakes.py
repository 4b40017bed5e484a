"""Models that no actor has in memory, and who waits for one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from api.errors import TooBusy, Unavailable


@dataclass(slots=True)
class Wake:
    """One start of a model, for all that wait for it; ``failure`` says why there was none."""

    since: float = field(default_factory=time.monotonic)
    num_waiting: int = 0
    failure: str | None = None

    def check(self) -> None:
        """Raise where it has failed.

        Raises:
            Unavailable: with the reason.
        """
        if self.failure is not None:
            raise Unavailable(self.failure)


class Wakes:
    """Those that are under way, by model, and why the last one of a model failed. Belongs to one event loop.

    A start is tried for somebody who waits. After one that failed all are told why, and for ``HOLD_S`` those that come
    later too: clients that try again do not keep a machine busy with starts.

    Args:
        ended: told of each wake that has ended: the model, and the seconds that the first one waited for it; None for
            one that failed.
    """

    MAX_WAITING = 4096
    HOLD_S = 5.0

    def __init__(self, ended: Callable[[str, float | None], object]) -> None:
        self._ended = ended
        self._wakes: dict[str, Wake] = {}
        self._failures: dict[str, tuple[float, str]] = {}

    @contextmanager
    def waiting(self, model: str) -> Iterator[Wake]:
        """Wait for an actor of a model, which is wanted meanwhile.

        Raises:
            Unavailable: it has just failed to start.
            TooBusy: too many wait already.
        """
        failed_at, reason = self._failures.get(model, (float("-inf"), ""))
        if time.monotonic() - failed_at < self.HOLD_S:
            raise Unavailable(reason)
        wake = self._wakes.setdefault(model, Wake())
        if wake.num_waiting >= self.MAX_WAITING:
            raise TooBusy(f"{wake.num_waiting} requests wait for model {model!r} to start")
        wake.num_waiting += 1
        try:
            yield wake
        finally:
            wake.num_waiting -= 1
            if not wake.num_waiting and self._wakes.get(model) is wake:
                del self._wakes[model]

    def is_wanted(self, model: str) -> bool:
        """Somebody waits for it."""
        return model in self._wakes

    def problem(self, model: str) -> str:
        """Why the last start of it failed; "" where it did not."""
        return self._failures.get(model, (0.0, ""))[1]

    def started(self, model: str) -> None:
        """An actor of it can answer."""
        self._failures.pop(model, None)
        if wake := self._wakes.pop(model, None):
            self._ended(model, time.monotonic() - wake.since)

    def failed(self, model: str, reason: str) -> None:
        """It cannot be started."""
        sentence = f"model {model!r} cannot start: {reason}"
        self._failures[model] = time.monotonic(), sentence
        if wake := self._wakes.pop(model, None):
            wake.failure = sentence
            self._ended(model, None)
