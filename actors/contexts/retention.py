"""Retention: what happens to a context's KV cache between turns."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from api.cluster import Retention


@dataclass(frozen=True, slots=True)
class Decision:
    """After a turn: whether the KV goes, and in how many seconds it is filled again (None: on demand)."""

    is_dropped: bool
    refill_after_s: float | None = None


class Retainer:
    """Decides for one session, from its policy and its user's habits. Times are seconds of any steady clock.

    The gap that counts is from the end of an answer to the user's next message. A predictive context is filled
    at ``EARLY`` of the shortest of the last gaps but one: a refill that comes too soon costs memory for a while, one
    that comes too late costs the user's wait.
    """

    EARLY = 0.8
    NUM_GAPS = 8

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._gaps: deque[float] = deque(maxlen=self.NUM_GAPS)
        self._ended_at: float | None = None

    def message(self, now: float) -> None:
        """The user's next message has come."""
        if self._ended_at is not None:
            self._gaps.append(now - self._ended_at)
            self._ended_at = None

    def turn_ended(self, num_tokens: int, now: float) -> Decision:
        """An answer has ended; the context holds ``num_tokens`` tokens."""
        self._ended_at = now
        match self._retention.policy:
            case "keep":
                return Decision(is_dropped=False)
            case "drop":
                return Decision(is_dropped=True)
            case "adaptive":
                return Decision(is_dropped=num_tokens <= self._retention.threshold)
            case "predictive":
                return Decision(is_dropped=True, refill_after_s=self.predicted_gap_s())

    def predicted_gap_s(self) -> float | None:
        """When to fill again, in seconds after the end of an answer; None before there is anything to go by."""
        if len(self._gaps) < 2:
            return None
        return sorted(self._gaps)[1 if len(self._gaps) > 3 else 0] * self.EARLY
