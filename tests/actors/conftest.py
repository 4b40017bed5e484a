"""Nothing here needs to wait: actors are objects in the test's own process, and come back at once."""

from __future__ import annotations

import pytest

SHORT_S = 0.01
WAITS = (
    "actors.directory_ref.DirectoryRef.RETRY_S",
    "actors.inferlet.contexts.Contexts.RETRY_S",
    "actors.inferlet.instance.Instance.CHECK_AGAIN_S",
    "actors.inferlet.watch.Watch.INTERVAL_S",
    "actors.inferlet_table.InferletTable.RETRY_S",
    "actors.slot.Slot.MIN_IDLE_S",
    "actors.slot_pool.SlotPool.ASK_AGAIN_S",
    "actors.tenant_call.TenantCall.RETRY_S",
    "actors.topics.incoming.RETRY_S",
    "actors.topics.shard_ref.ShardRef.RETRY_S",
    "actors.turn_run.TurnRun.RETRY_S",
)
"""Time between two tries, or two looks at the same thing."""


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITS:
        monkeypatch.setattr(name, SHORT_S)
