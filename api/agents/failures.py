"""What ends a run without an answer."""

from __future__ import annotations

from api.threads.blocks import BlockError
from api.threads.runs import FailureReason


class CallFailed(Exception):
    """A call has no result; the model is told why, and the run goes on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.error = BlockError(code, message)


class Failed(Exception):
    """The run fails, for this reason of the closed list."""

    def __init__(self, reason: FailureReason, message: str, code: str | None = None) -> None:
        super().__init__(reason, message, code)
        self.reason: FailureReason = reason
        self.error = BlockError(code or reason, message)
