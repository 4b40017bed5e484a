"""What has been seen, and what should not have been."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

MAX_SLOW_S = 60.0
"""For an answer that waits until a process has started, or a whole text is there, on a busy machine."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)


@dataclass
class Findings:
    """Answers by kind, and each answer that breaks a promise, with what it was an answer to.

    Args:
        max_wait_s: for any other answer.
    """

    max_wait_s: float = 10.0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def judge(self, answer: bytes, sent: bytes) -> None:
        """Look at the heads of answers: no status of 500 and above but 503, which says when to come again."""
        for status, head in _STATUS.findall(answer):
            self.counts[status.decode()] += 1
            is_retry = status == b"503" and b"retry-after:" in head.lower()
            if status >= b"500" and not is_retry:
                self.faults.append(f"{status.decode()} to {sent[:300]!r}: {answer[-300:]!r}")

    def hang(self, sent: bytes) -> None:
        """Nothing came in time."""
        self.faults.append(f"no answer in time to {sent[:300]!r}")
