"""What a caller says of runs."""

from __future__ import annotations

from typing import Any, Literal

from api.errors import GreenroomError

TaskState = Literal["waiting", "running", "succeeded", "failed"]
"""In Steamship's words: one that is queued waits, one that asks runs, one that was cancelled has failed."""

TASK_STATES: dict[str, TaskState] = {
    "queued": "waiting",
    "running": "running",
    "waiting": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "failed",
}


class RunFailed(GreenroomError):
    """A run ended without success; ``run`` says how."""

    code = "run_failed"

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        error = f": {self.run.error.message}" if self.run.error else ""
        return f"run {self.run.id} {self.run.state} ({self.run.reason}){error}"
