"""What requests cost in calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.api.fake_cluster import FakeCluster, FakeSession


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the cluster was asked for its models, and sessions for a turn, its output, or a part of their log."""
    counter = Counter[str]()

    def count(kind: type, name: str) -> None:
        call: Any = getattr(kind, name)

        async def counted(*args: Any, **more: Any) -> Any:
            counter[name] += 1
            return await call(*args, **more)

        monkeypatch.setattr(kind, name, counted)

    count(FakeCluster, "models")
    for name in "turn", "resume", "log":
        count(FakeSession, name)
    return counter
