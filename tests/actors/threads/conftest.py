"""A small cluster with a scripted model and the agents of ``tests.actors.threads.agents``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.settings import InferletSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads import agents
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer

NAMES = ("helper", "quiet", "limited", "hurried", "plain", "safe")


@pytest.fixture(autouse=True)
def _nothing_recorded() -> None:
    agents.RECORDED.clear()
    agents.HELD.clear()


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    configured = {name: f"tests.actors.threads.agents:{name}" for name in NAMES}
    inferlets = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    cluster = SmallCluster(
        tmp_path,
        inferlets=inferlets,
        pool_size=0,
        recovery_timeout_s=60.0,
        agents=configured,
        features=frozenset(("constraint",)),
        engine=ScriptedEngine,
        tokenizer=ScriptedTokenizer,
    )
    async with cluster as small:
        yield small
        for held in list(agents.HELD.values()):
            held.set()
