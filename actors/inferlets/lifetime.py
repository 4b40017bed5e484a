"""How long an inferlet is kept that nobody uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.inferlets.records import Ended, Launched, Logged, Record, Restarted
from actors.inferlets.thread_log import ends_with
from actors.settings import InferletSettings
from api.threads.runs import ENDED, RunState

MAX_WAIT_S = 30 * 86_400.0
"""For an ask that does not expire, or a program's sleep."""


class Lifetime:
    """Follows the records of one inferlet, those that are written next too: its runs, and the asks that wait.

    What waits is kept until it goes on, and ``InferletSettings.idle_timeout_s`` longer. A thread with an
    ``idle_timeout_s`` of its own goes so long after its last run.
    """

    def __init__(self, settings: InferletSettings) -> None:
        self.settings = settings
        self._own_timeout_s: float | None = None
        self._runs: dict[str, RunState] = {}
        self._asks: dict[str, float | None] = {}
        self._is_over = False

    def take(self, records: Sequence[Record]) -> None:
        """These come next."""
        for record in records:
            match record:
                case Logged(value=value):
                    self._take_logged(value)
                case Launched():
                    self._own_timeout_s = record.idle_timeout_s
                case Restarted() | Ended():
                    self._runs = {id: state for id, state in self._runs.items() if not ends_with(record, state)}
                    self._asks.clear()
                    self._is_over = isinstance(record, Ended)

    def expires_at(self, used_at: float, wakes_at: float | None = None) -> float | None:
        """When it is deleted if it is not used again; None is never. Seconds since the epoch.

        Args:
            wakes_at: when it goes on by itself.
        """
        idle_timeout_s = self.settings.idle_timeout_s
        if self._is_over:
            return used_at + self.settings.keep_ended_s
        if not self._runs and self._own_timeout_s is not None:
            return used_at + self._own_timeout_s
        if idle_timeout_s is None:
            return None
        idle_timeout_s = max(idle_timeout_s, self._own_timeout_s or 0.0)
        ends = [used_at, *(end for end in (*self._asks.values(), wakes_at) if end is not None)]
        expires_at = min(max(ends), used_at + MAX_WAIT_S) + idle_timeout_s
        is_patient = None in self._asks.values() and self._own_timeout_s is None
        return max(expires_at, used_at + MAX_WAIT_S) if is_patient else expires_at

    def _take_logged(self, value: Any) -> None:
        match value:
            case {"log": "run", "run": {"id": run_id, "state": state}}:
                self._runs[run_id] = state
                if state in ENDED:
                    del self._runs[run_id]
            case {"log": "created", "block": {"kind": "ask", "id": block_id, "ask": {"expires_at": expires_at}}}:
                self._asks[block_id] = expires_at
            case {"log": "completed", "block": {"kind": "ask", "id": block_id}}:
                self._asks.pop(block_id, None)
