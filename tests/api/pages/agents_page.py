"""The page for agents as its user sees it: by labels and roles, not by its inside."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect


class AgentsPage:
    """What can be done and read on the page."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.field = page.get_by_role("textbox", name="Message", exact=True)
        self.agent = page.get_by_label("Agent", exact=True)
        self.busy = page.get_by_label("While the agent works, the message")
        self.cancel = page.get_by_role("button", name="Cancel the run")
        self.threads = page.get_by_role("list", name="Threads", exact=True)
        self.runs = page.get_by_role("main", name="Thread").locator("ol > li.turn")
        self.prompts = page.get_by_role("article", name="You")
        self.answers = page.get_by_role("article", name="Answer")
        self.asks = page.get_by_role("group", name="Question")

    async def visit(self, fragment: str = "") -> None:
        """Open it, and wait until the server has been heard."""
        await self.page.goto(f"{self.base_url}/agents{fragment}")
        await expect(self.page.locator("#connection")).to_have_text("Connected")  # hidden on a phone

    async def prompt(self, text: str) -> None:
        """Send a message."""
        await self.field.fill(text)
        await self.field.press("Enter")

    def call(self, name: str) -> Locator:
        """The calls of a tool."""
        return self.page.get_by_role("article", name=f"Call of {name}", exact=True)

    def run(self, text: str) -> Locator:
        """The runs that show this text."""
        return self.runs.filter(has_text=text)
