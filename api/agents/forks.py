"""What the program of a thread begins with that is a fork of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.agents.conversation import Messages
from api.agents.model_context import ModelContext


@dataclass(frozen=True, slots=True)
class Fork:
    """A thread up to somewhere.

    Attributes:
        notes: of its checkpoints up to there.
        runs: that came after the last of these, up to there.
        handed_to: the agent that has taken the thread over in these runs, if one has.
        last_run: the id that the last run has in the fork.
        num_runs, num_blocks: no run has this number or a greater one, and no block a greater one.
    """

    notes: tuple[Any, ...]
    runs: tuple[Messages, ...]
    handed_to: str | None
    last_run: str
    num_runs: int
    num_blocks: int

    def note(self, context_id: str) -> dict[str, Any]:
        """What a program of another thread begins with, whose model has a context of this id.

        ``origin`` is the context that this begins as a fork of. Where another agent has taken the thread over, or no
        run had ended, the ``earlier_runs`` are for a context of the agent's own.
        """
        note: dict[str, Any] = {
            "num_blocks": self.num_blocks,
            "num_runs": self.num_runs,
            "queue": [],
            "queued": [],
            "last_run": self.last_run,
            "agent": self.handed_to or (self.notes[-1].get("agent", "") if self.notes else ""),
            "model": None,
            "tools": {name: listing for one in self.notes for name, listing in one.get("tools", {}).items()},
        }
        model = model_of(self.notes)
        if model is None or self.handed_to:
            known = model.known_runs if model else runs_before(self.notes)
            return {**note, "earlier_runs": [list(run) for run in (*known, *self.runs)]}
        return {**note, "model": model.forked_note(context_id, self.runs), "origin": model.context_id}


def model_of(notes: Sequence[Any]) -> ModelContext | None:
    """The one that a thread with these notes has; None before its first run has begun."""
    kept = [note["model"] for note in notes if note["model"]]
    return ModelContext.of(kept) if kept else None


def runs_before(notes: Sequence[Any]) -> tuple[Messages, ...]:
    """What a thread without a model's context knows already; see ``Fork.note``."""
    return tuple(tuple(run) for note in notes for run in note.get("earlier_runs", ()))
