"""What every server must show, in memory or live: see ``tests.api.pages.site`` for how to point these at one."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.api.pages.chat_page import ChatPage
from tests.api.pages.site import Site
from tests.api.pages.widths import has_no_sideways_scroll

pytestmark = pytest.mark.browser


async def test_an_answer_streams_in_and_shows_its_numbers(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url, site.slow_model)
    await chat.visit()
    await chat.ask(site.slow_question)
    await chat.begun(0)
    await expect(chat.stop).to_be_visible()
    early = await chat.text(0)
    whole = await chat.ended(0)
    assert whole.startswith(early.strip())
    assert len(whole) > len(early)
    await expect(chat.numbers(0)).to_have_text(
        re.compile(r"\d+ tokens · [\d.]+ tokens/s · first after \d+ ms · context: new")
    )
    meter = page.get_by_role("meter", name="Context in use")
    assert int(await meter.get_attribute("aria-valuenow") or 0) > 0
    await expect(page.get_by_role("status").filter(has_text="Connected")).to_be_visible()


async def test_the_second_turn_says_how_its_context_was_found(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    await chat.ask_and_wait("Hello, my name is Ada.")
    await chat.ask_and_wait("What is my name?")
    await expect(chat.numbers(1)).to_have_text(re.compile(r"context: (resident \d+/\d+|re-filled \d+)"))


async def test_stopping_keeps_the_session(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url, site.slow_model)
    await chat.allow(1500)
    await chat.visit()
    await chat.ask(site.long_question)
    await chat.begun(0)
    await chat.stop.click()
    stopped = await chat.ended(0)
    await expect(chat.answers.nth(0)).to_contain_text("Stopped.")
    await chat.ask("And now?")
    await chat.begun(1)
    await chat.stop.click()
    assert await chat.ended(1)
    assert await chat.text(0) == stopped


async def test_a_reload_keeps_the_conversation(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    first = await chat.ask_and_wait("Hello, my name is Ada.")
    await page.reload()
    await expect(chat.questions).to_have_count(1)
    await expect(chat.questions.nth(0)).to_contain_text("Hello, my name is Ada.")
    assert await chat.ended(0) == first
    assert await chat.ask_and_wait("What is my name?")


async def test_a_reload_in_the_middle_of_an_answer_goes_on_with_it(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url, site.slow_model)
    await chat.visit()
    await chat.ask(site.slow_question)
    await chat.begun(0)
    early = (await chat.text(0)).strip()
    await page.reload()
    assert (await chat.ended(0)).startswith(early)
    await expect(chat.answers).to_have_count(1)


async def test_a_server_restarted_in_the_middle_of_an_answer_loses_nothing(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url, site.slow_model)
    await chat.visit()
    await chat.ask(site.slow_question)
    await chat.begun(0)
    early = (await chat.text(0)).strip()
    await site.restart()
    whole = await chat.ended(0)
    assert whole.startswith(early)
    assert len(whole) > len(early)
    await page.reload()
    assert await chat.ended(0) == whole, "what was shown is what the server has"


async def test_editing_a_message_branches_and_both_branches_stay(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    first = await chat.ask_and_wait("Hello, my name is Ada.")
    original = await chat.ask_and_wait("What is my name?")
    await chat.questions.nth(1).hover()
    await chat.questions.nth(1).get_by_role("button", name="Edit the message").click()
    await page.get_by_role("textbox", name="Edit the message").fill("What is 2 plus 3?")
    await page.keyboard.press("Enter")
    await expect(chat.questions.nth(1)).to_contain_text("What is 2 plus 3?")
    branched = await chat.ended(1)
    assert await chat.text(0) == first
    switcher = chat.questions.nth(1).get_by_role("group", name="Branches")
    await expect(switcher).to_contain_text("2/2")
    await switcher.get_by_role("button", name="Previous branch").click()
    await expect(chat.questions.nth(1)).to_contain_text("What is my name?")
    assert await chat.ended(1) == original
    await page.reload()
    await expect(chat.questions.nth(1)).to_contain_text("1/2")
    await switcher.get_by_role("button", name="Next branch").click()
    await expect(chat.questions.nth(1)).to_contain_text("What is 2 plus 3?")
    assert await chat.ended(1) == branched


async def test_an_answer_can_be_had_again_beside_the_first(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    await chat.ask_and_wait("Hello, my name is Ada.")
    await chat.answers.nth(0).get_by_role("button", name="Answer again").click()
    await expect(chat.questions.nth(0)).to_contain_text("2/2")
    assert await chat.ended(0)
    await expect(chat.questions).to_have_count(1)


async def test_all_of_it_works_by_keyboard(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url, site.slow_model)
    await chat.allow(1500)
    await chat.visit()
    await expect(chat.field).to_be_focused()
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await expect(chat.field).to_have_value("one\ntwo")
    await page.keyboard.press("Control+a")
    await page.keyboard.type(site.long_question)
    await page.keyboard.press("Enter")
    await chat.begun(0)
    await page.keyboard.press("Escape")
    await chat.ended(0)
    await expect(chat.answers.nth(0)).to_contain_text("Stopped.")
    await expect(chat.field).to_be_focused()
    for _ in range(4):
        await page.keyboard.press("Shift+Tab")
        focused = page.locator(":focus")
        if await focused.get_attribute("aria-label") == "Edit the message in a new branch":
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("textbox", name="Edit the message")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Edit the message in a new branch")).to_be_focused()


async def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, site: Site) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True)
    page = await context.new_page()
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    await chat.ask_and_wait(f"Hello {'x' * 200}")
    await has_no_sideways_scroll(page)
    await page.get_by_role("button", name="Conversations").click()
    await expect(page.get_by_role("navigation", name="Conversations")).to_be_visible()
    await has_no_sideways_scroll(page)
    await page.get_by_role("button", name="New chat").click()
    await expect(page.get_by_role("heading", name="The room is ready.")).to_be_visible()
    await page.get_by_role("button", name="Settings").click()
    await expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    await has_no_sideways_scroll(page)
