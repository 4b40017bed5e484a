"""The chat page as its user sees it: by labels and roles, not by its inside."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect


class ChatPage:
    """What can be done and read on the page."""

    def __init__(self, page: Page, base_url: str, model: str | None = None) -> None:
        self.page = page
        self.base_url = base_url
        self._model = model
        self.field = page.get_by_role("textbox", name="Message", exact=True)
        self.stop = page.get_by_role("button", name="Stop the answer")
        self.questions = page.get_by_role("article", name="You")
        self.answers = page.get_by_role("article", name="Answer")

    async def visit(self) -> None:
        """Open it, wait until the models are there, and pick this test's, if it has one."""
        await self.page.goto(f"{self.base_url}/")
        models = self.page.get_by_label("Model", exact=True)
        await expect(models).not_to_have_value("")
        if self._model is not None:
            await models.select_option(self._model)
            await self.field.focus()

    async def allow(self, num_tokens: int) -> None:
        """Let answers be so long, from the next visit on: one that is to be stopped runs while the machine is busy."""
        settings = f"JSON.stringify({{max_tokens: {num_tokens}}})"
        await self.page.add_init_script(f"localStorage.setItem('greenroom.settings', {settings})")

    async def ask(self, text: str) -> None:
        """Send a message."""
        await self.field.fill(text)
        await self.field.press("Enter")

    async def ask_and_wait(self, text: str) -> str:
        """Send a message; the whole answer."""
        num_answers = await self.answers.count()
        await self.ask(text)
        await expect(self.answers).to_have_count(num_answers + 1)
        return await self.ended(num_answers)

    async def ended(self, index: int) -> str:
        """The text of the answer at this place, when it has ended."""
        await expect(self.numbers(index)).to_be_visible()
        return await self.text(index)

    async def text(self, index: int) -> str:
        """The text of the answer at this place, now."""
        text: str = await self.answers.nth(index).locator(".markdown").inner_text()
        return text

    def numbers(self, index: int) -> Locator:
        """The line under an ended answer."""
        return self.answers.nth(index).locator(".numbers")

    async def begun(self, index: int) -> None:
        """Wait until the answer at this place has some text."""
        await expect(self.answers.nth(index).locator(".markdown")).not_to_be_empty()
