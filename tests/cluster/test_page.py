"""The chat page in a real browser, with a slow model to stop and a gateway that dies in the middle."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.api.pages.conftest import browser, chromium, page
from tests.api.pages.site import Site
from tests.api.pages.test_page import *  # noqa: F403
from tests.cluster.deployed import Deployed

__all__ = ["browser", "chromium", "page"]

pytestmark = [pytest.mark.cluster, pytest.mark.browser, pytest.mark.timeout(180)]  # type: ignore[assignment]


@pytest.fixture
def site(several: Deployed) -> Site:
    async def restart() -> None:
        await asyncio.to_thread(several.kill, "gateway")
        await asyncio.to_thread(
            several.wait, lambda: httpx.get(several.url + "/readyz", timeout=5).status_code == 200, 90
        )

    return Site(several.url, restart, slow_model="endless")
