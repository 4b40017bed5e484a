"""One Chromium for all tests, a context of its own for each, and the visits that it makes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.api.fake_cluster import FakeCluster
from tests.api.pages.site import Restartable, Site, fake_site, visited_site

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000
"""On a busy machine a page might take long for what it does at once otherwise."""

expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """With no page open, at the end too."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """An empty page; the test fails when a script on it does."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if "Content Security" in message.text else None)
    yield page
    assert problems == []


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with visited_site() as site:
        yield site


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest_asyncio.fixture(loop_scope="session")
async def server(cluster: FakeCluster) -> AsyncIterator[Restartable]:
    async with fake_site(cluster) as server:
        yield server
