"""What a tool knows of the call that it runs for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallContext:
    """The call that a tool runs for; ``call_id`` is empty for an agent that is a function."""

    agent: str
    thread_id: str
    run_id: str
    call_id: str
