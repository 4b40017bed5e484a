"""The chat page in a real browser, with a slow model to stop and a gateway that dies in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.api.pages.conftest import browser, chromium, page
from tests.api.pages.site import Site
from tests.api.pages.test_page import *  # noqa: F403
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.endless_model import make_endless_model

__all__ = ["browser", "chromium", "page"]

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.timeout(180)]  # type: ignore[assignment]


@pytest.fixture(scope="module")
def two_models(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    endless = make_endless_model(tmp_path_factory.mktemp("endless"))
    deployed.deploy(models=[{"name": "pocket", "path": MODEL}, {"name": "endless", "path": str(endless)}])
    yield deployed
    deployed.deploy()


@pytest.fixture
def site(two_models: Deployed) -> Site:
    async def restart() -> None:
        await asyncio.to_thread(two_models.kill, "gateway")
        await asyncio.to_thread(
            two_models.wait, lambda: httpx.get(two_models.url + "/readyz", timeout=5).status_code == 200, 90
        )

    return Site(two_models.url, restart, slow_model="endless")
