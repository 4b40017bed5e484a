"""Turns of a session as its history has them, and as its owner sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from actors.models.messages import TurnOutput
from api.cluster import TurnRecord
from api.turns import Finish, TurnRequest, TurnStart


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn whose tokens are in the context, from ``base_length`` on."""

    request: TurnRequest
    base_length: int
    prompt_ids: tuple[int, ...]
    output: TurnOutput
    num_resident: int = 0
    ended_at: float | None = None
    num_told: int = 0
    is_past: bool = False

    @property
    def start(self) -> TurnStart:
        """As it was when it started."""
        return TurnStart(self.request.turn_id, self.base_length, self.prompt_ids, self.num_resident)

    @property
    def end_length(self) -> int:
        """The context's length when it had ended."""
        return self.base_length + len(self.prompt_ids) + len(self.output.ids)

    def record(self) -> TurnRecord:
        """For the session's owner."""
        return TurnRecord(
            self.request.turn_id,
            self.request.prompt,
            self.output.text,
            self.base_length,
            self.end_length,
            len(self.output.ids),
            self.output.finish,
            self.request.note,
            self.ended_at,
            num_told=self.num_told,
            is_past=self.is_past,
        )


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A turn that came to nothing, at a context of ``base_length`` tokens; ``reason`` None where it was cancelled."""

    request: TurnRequest
    base_length: int
    reason: str | None
    is_past: bool = False

    def record(self) -> TurnRecord:
        """For the session's owner."""
        request, base = self.request, self.base_length
        finish = Finish("cancelled") if self.reason is None else None
        record = TurnRecord(request.turn_id, request.prompt, "", base, base, 0, finish, request.note, None, self.reason)
        return replace(record, is_past=self.is_past)


def running_record(request: TurnRequest, length: int, is_waiting: bool = False) -> TurnRecord:
    """A turn that runs, or waits, on a context of ``length`` tokens."""
    return TurnRecord(request.turn_id, request.prompt, "", length, length, 0, None, request.note, is_waiting=is_waiting)
