"""Programs that run for ever."""

from __future__ import annotations

from typing import NoReturn

from api.inferlet.host import host
from api.values import Value, snapshot


async def continue_as_new(state: Value = None) -> NoReturn:
    """End this run of the program here, and begin it again, with the same arguments and this as ``args.state``.

    It stays the same instance: its clients see no end, its events are numbered on, and messages that it has not
    received wait for it, as do those of topics, where it keeps its places. What it has called before is not repeated
    after a crash, and counts no longer toward ``max_journal_bytes``. All else of the run ends: its tasks, its timers,
    its contexts, and what it has pulled from queues and not acknowledged, which goes to others. Its children go on.

    Raises:
        InvalidRequest, TooLarge: the state is not text, bytes or JSON of up to 1 MiB.
    """
    await host().continue_as_new(snapshot(state))
