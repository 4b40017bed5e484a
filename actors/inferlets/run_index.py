"""The runs of a thread as its owner's lists show them, in the transactions that change them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from actors.inferlets.records import Ended, Logged, Record, Restarted
from actors.inferlets.thread_log import ending_of, ends_with
from actors.journal.contract import IndexEntry
from api.threads.runs import Run

MAX_PROMPT_CHARS = 500


class RunIndex:
    """Follows the records of one thread that are written next. Runs below other runs are not shown.

    Args:
        active: the runs that have not ended.
    """

    def __init__(self, active: Iterable[Run]) -> None:
        self._active = {run.id: run for run in active if not run.parent_run_id}

    def take(self, records: Sequence[Record]) -> tuple[IndexEntry, ...]:
        """These come next: the runs that they change, as they are then."""
        changed: dict[str, Run] = {}
        for record in records:
            for run in self._changed_by(record):
                changed[run.id] = self._active[run.id] = run
                if run.is_over:
                    del self._active[run.id]
        return tuple(_entry(run) for run in changed.values())

    def _changed_by(self, record: Record) -> Iterable[Run]:
        match record:
            case Logged(value=value):
                return self._logged(value)
            case Restarted() | Ended():
                state, reason, error = ending_of(record)
                ended = [run for run in self._active.values() if ends_with(record, run.state)]
                return [run.ended_as(state, reason, error) for run in ended]
        return ()

    def _logged(self, value: Any) -> Iterable[Run]:
        if value["log"] != "run" or value["run"].get("parent_run_id"):
            return ()
        return (Run.changed(value["run"], self._active.get(value["run"]["id"])),)


def run_of(entry: IndexEntry) -> Run:
    """The run of an entry; without metadata and history, and with the beginning of its prompt."""
    return Run.of(json.loads(entry.value))


def _entry(run: Run) -> IndexEntry:
    kept = replace(run, prompt=run.prompt[:MAX_PROMPT_CHARS], metadata={}, history=()).kept
    return IndexEntry(run.id, run.created_at, run.state, json.dumps(kept).encode())
