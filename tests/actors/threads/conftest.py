from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads import shapes
from tests.actors.threads.scripted_cluster import scripted_cluster


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with scripted_cluster(tmp_path) as small:
        yield small


@pytest_asyncio.fixture
async def shaped(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    """With the agents of ``shapes``."""
    configured = {name: f"{shapes.__name__}:{found}" for name, found in shapes.NAMES.items()}
    async with scripted_cluster(tmp_path, configured=configured) as small:
        yield small
