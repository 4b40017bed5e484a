"""Nothing here needs to wait: actors are objects in the test's own process, and come back at once."""

from __future__ import annotations

import pytest

SHORT_S = 0.01
WAITS = (
    "actors.calls.ray.RETRY_S",
    "actors.inferlets.instance.Instance.CHECK_AGAIN_S",
    "actors.inferlets.limits.Watch.INTERVAL_S",
    "actors.directory.inferlets.InferletTable.RETRY_S",
    "actors.pool.actor.Slot.MIN_IDLE_S",
    "actors.pool.pool.SlotPool.ASK_AGAIN_S",
    "actors.topics.incoming.RETRY_S",
    "actors.contexts.run.TurnRun.RETRY_S",
)
"""Time between two tries, or two looks at the same thing."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITS:
        monkeypatch.setattr(name, SHORT_S)
