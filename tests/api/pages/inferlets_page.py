"""The page for inferlets as its user sees it: by labels and roles, not by its inside."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect


class InferletsPage:
    """What can be done and read on the page."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.field = page.get_by_role("textbox", name="Message", exact=True)
        self.inferlets = page.get_by_role("list", name="Inferlets")
        self.topics = page.get_by_role("list", name="Topics")
        self.entries = page.get_by_role("main", name="Messages").locator("li.entry")
        self.terminate = page.get_by_role("button", name="Terminate", exact=True)
        self.facts = page.get_by_role("banner").get_by_role("paragraph")
        self.launcher = page.get_by_role("dialog", name="Launch a program")
        self.program = self.launcher.get_by_role("combobox", name="Program")

    async def visit(self, fragment: str = "") -> None:
        """Open it, and wait until the server has been heard."""
        await self.page.goto(f"{self.base_url}/inferlets{fragment}")
        await expect(self.page.locator("#connection")).to_have_text("Connected")  # hidden on a phone

    async def launch(self, file: str, source: str, arguments: str = "", name: str = "") -> None:
        """Upload a program and launch it, by the form."""
        await self.page.get_by_role("navigation").get_by_role("button", name="Launch a program").click()
        await self.upload(file, source)
        await expect(self.program).to_contain_text(file)
        await self.launcher.get_by_label("Arguments").fill(arguments)
        await self.launcher.get_by_label("Name").fill(name)
        await self.launcher.get_by_role("button", name="Launch", exact=True).click()
        await expect(self.launcher).to_be_hidden()
        await expect(self.field).to_be_focused()

    async def upload(self, file: str, source: str) -> None:
        """Choose a file in the form."""
        chosen = {"name": file, "mimeType": "text/x-python", "buffer": source.encode()}
        await self.launcher.get_by_label("Upload another").set_input_files(chosen)

    async def send(self, text: str) -> None:
        """Send what the field says."""
        await self.field.fill(text)
        await self.field.press("Enter")

    def entry(self, text: str) -> Locator:
        """The entries with this text."""
        return self.entries.filter(has_text=text)
