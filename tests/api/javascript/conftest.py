"""A server in memory, for scripts to talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def server(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings())) as base_url:
        yield base_url
