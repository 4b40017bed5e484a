"""A response as clients see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.errors import GreenroomError, sentence_of
from api.http.openai.responses.items import Item
from api.turns import Reason

STATUSES: Mapping[Reason, str] = {
    "eos": "completed",
    "stop": "completed",
    "length": "incomplete",
    "context": "incomplete",
    "cancelled": "cancelled",
    "distribution": "completed",
}
EVENTS = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "cancelled": "response.incomplete",
    "failed": "response.failed",
}
"""Each status's last event; that of a cancelled one is told by its ``status``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a response."""

    num_input: int
    num_cached: int
    num_output: int
    num_reasoning: int

    def view(self) -> dict[str, object]:
        """As clients see it."""
        return {
            "input_tokens": self.num_input,
            "input_tokens_details": {"cached_tokens": self.num_cached, "cache_write_tokens": 0},
            "output_tokens": self.num_output,
            "output_tokens_details": {"reasoning_tokens": self.num_reasoning},
            "total_tokens": self.num_input + self.num_output,
        }


@dataclass(frozen=True, slots=True)
class State:
    """What changes of a response."""

    status: str
    output: Sequence[Item] = field(default=())
    usage: Usage | None = None
    error: GreenroomError | None = None
    completed_at: float | None = None
    why_incomplete: str = "max_output_tokens"


def resource(response_id: str, fields: Mapping[str, Any], state: State) -> dict[str, Any]:
    """The response in this state."""
    is_incomplete, is_completed = state.status == "incomplete", state.status == "completed"
    at = state.completed_at
    return {
        "id": response_id,
        "object": "response",
        **{name: value for name, value in fields.items() if name != "include"},
        "status": state.status,
        "completed_at": int(at) if is_completed and at is not None else None,
        "incomplete_details": {"reason": state.why_incomplete} if is_incomplete else None,
        "output": [dict(item) for item in state.output],
        "error": error_view(state.error) if state.error else None,
        "usage": state.usage.view() if state.usage else None,
    }


def error_view(error: GreenroomError) -> dict[str, str]:
    """Why a response failed."""
    code = "rate_limit_exceeded" if error.status == 429 else error.code if error.status < 500 else "server_error"
    return {"code": code, "message": sentence_of(error)}
