"""Whether a page fits its screen."""

from __future__ import annotations

from playwright.async_api import Page


async def has_no_sideways_scroll(page: Page) -> None:
    """Nothing is wider than the screen. (A phone makes ``innerWidth`` as wide as what is on the page.)"""
    assert page.viewport_size is not None
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= page.viewport_size["width"]
