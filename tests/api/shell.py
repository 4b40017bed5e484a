"""The application in process, with routes of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
from starlette.routing import BaseRoute

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster


@asynccontextmanager
async def shell(
    routes: Sequence[BaseRoute] = (), settings: ApiSettings | None = None, cluster: FakeCluster | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with these routes added."""
    app = build_app(cluster or FakeCluster(), settings or ApiSettings(), routes)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client
