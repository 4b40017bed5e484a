"""A small cluster with a scripted model and the agents of ``tests.actors.threads.agents``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.settings import InferletSettings
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads import agents
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer

NAMES = tuple("helper quiet limited hurried plain safe unlimited boss thrifty clerk keeper forgetful steered".split())


@asynccontextmanager
async def scripted_cluster(
    folder: Path,
    engine: type[ScriptedEngine] = ScriptedEngine,
    tokenizer: type[ScriptedTokenizer] = ScriptedTokenizer,
    configured: Mapping[str, str] | None = None,
    num_models: int = 1,
    **limits: Any,
) -> AsyncIterator[SmallCluster]:
    """The cluster, its journal in this folder, with these limits of inferlets. In the end no tool waits any longer.

    ``configured`` are other agents than those of ``tests.actors.threads.agents``.
    """
    cluster = SmallCluster(
        folder,
        num_models,
        inferlets=InferletSettings(**({"pool_size": 0, "memory_limit_bytes": 1 << 40} | limits)),
        pool_size=0,
        recovery_timeout_s=60.0,
        agents=configured or {name: f"tests.actors.threads.agents:{name}" for name in NAMES},
        features=frozenset(("constraint",)),
        engine=engine,
        tokenizer=tokenizer,
    )
    agents.RECORDED.clear()
    agents.HELD.clear()
    async with cluster as small:
        yield small
        for held in list(agents.HELD.values()):
            held.set()
