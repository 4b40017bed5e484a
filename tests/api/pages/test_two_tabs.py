"""One conversation in several tabs, each at a gateway of its own: all show what was said in any of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.tools import Tool
from api.turns import Message, Stop, TurnRequest
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.pages.chat_page import ChatPage
from tests.api.pages.site import Restartable, fake_site
from tests.api.toy_answers import chat_ids, continuation
from tests.api.toy_model import says

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def gateways(cluster: FakeCluster) -> AsyncIterator[list[Restartable]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fake_site(cluster)) for _ in range(2)]


async def also_shown(page: Page, server: Restartable, shown: ChatPage) -> ChatPage:
    """The conversation that is shown, in another page."""
    other = ChatPage(page, server.base_url)
    await page.goto(f"{server.base_url}/#{shown.page.url.rpartition('#')[2]}")
    await expect(page.locator("#connection")).to_have_text("Connected")
    return other


async def test_both_tabs_show_every_turn_and_the_model_has_heard_no_other(
    browser: Browser, page: Page, gateways: list[Restartable], cluster: FakeCluster
) -> None:
    one = ChatPage(page, gateways[0].base_url)
    await one.visit()
    await one.ask_and_wait("first")
    other = await also_shown(await browser.new_page(), gateways[1], one)
    for number, (asking, watching) in enumerate([(one, other), (other, one), (one, other)], start=1):
        answer = await asking.ask_and_wait(f"question {number}")
        await expect(watching.questions.nth(number)).to_contain_text(f"question {number}")
        assert await watching.ended(number) == answer
    (session,) = cluster.open_sessions.values()
    said = [turn.request.prompt for turn in session.turns]
    assert [part.content for prompt in said for part in prompt if isinstance(part, Message)] == [
        "first",
        "question 1",
        "question 2",
        "question 3",
    ]
    for shown in (one, other):
        assert [await shown.text(number) for number in range(4)] == [turn.text.strip() for turn in session.turns]


async def test_an_answer_streams_into_the_other_tab_which_can_stop_it(
    browser: Browser, page: Page, gateways: list[Restartable], cluster: FakeCluster
) -> None:
    one = ChatPage(page, gateways[0].base_url)
    await one.visit()
    await one.ask_and_wait("first")
    other = await also_shown(await browser.new_page(), gateways[1], one)
    cluster.pace.hold()
    await one.ask("more")
    cluster.pace.allow(20)
    await expect(other.answers.nth(1).locator(".markdown")).to_have_text(re.compile(".{20}"))
    await other.stop.click()
    cluster.pace.release()
    assert await one.ended(1) == await other.ended(1)
    await expect(one.answers.nth(1)).to_contain_text("Stopped.")


async def test_calls_of_tools_that_another_client_has_made_are_shown(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("first")
    (session,) = cluster.open_sessions.values()
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    cluster.infos = (replace(TOY, answers=AnswerFormat(CALL_FORMATS["hermes"])),)
    cluster.model = says(f"Let me see. {call}")
    await session.begin(TurnRequest("a", (Message("user", "Weather?"),), stop=Stop(200), tools=(Tool("weather"),)))
    await expect(chat.answers.nth(1).locator("code")).to_have_text('weather({"city": "Rome"})')
    await expect(chat.answers.nth(1)).to_contain_text("Let me see.")


async def test_what_was_said_while_a_tab_was_away_is_there_when_it_is_back(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("first")
    (session,) = cluster.open_sessions.values()
    await server.stop()
    async for _ in await session.begin(TurnRequest("elsewhere", (Message("user", "meanwhile"),), stop=Stop(20))):
        pass
    await server.start()
    await expect(chat.questions.nth(1)).to_contain_text("meanwhile")
    expected = continuation([*chat_ids(("user", "first"))], 512)
    assert (await chat.text(0)) == expected.strip()
    await session.rollback(0)
    await chat.ask("after a rollback")
    await expect(chat.questions).to_have_count(1)
    await expect(chat.questions.nth(0)).to_contain_text("after a rollback")


async def test_the_sidebar_follows_other_tabs(browser: Browser, server: Restartable) -> None:
    context = await browser.new_context()
    one = ChatPage(await context.new_page(), server.base_url)
    await one.visit()
    other = ChatPage(await context.new_page(), server.base_url)
    await other.visit()
    await one.ask_and_wait("tell me a tale")
    entry = other.page.get_by_role("navigation").get_by_role("button", name=re.compile("^tell me a tale"))
    await expect(entry).to_be_visible()
    await one.page.get_by_role("button", name="Rename “tell me a tale”").click()
    await one.page.get_by_role("textbox", name="Title").fill("A tale")
    await one.page.keyboard.press("Enter")
    await expect(other.page.get_by_role("button", name=re.compile("^A tale"))).to_be_visible()
    await one.page.get_by_role("button", name="Delete “A tale”").click()
    await one.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(other.page.get_by_text("No conversations yet.")).to_be_visible()


async def test_a_conversation_that_another_tab_deletes_says_so(
    browser: Browser, page: Page, gateways: list[Restartable], cluster: FakeCluster
) -> None:
    one = ChatPage(page, gateways[0].base_url)
    await one.visit()
    await one.ask_and_wait("first")
    other = await also_shown(await browser.new_page(), gateways[1], one)
    await one.page.get_by_role("button", name="Delete “first”").click()
    await one.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(other.page.get_by_role("alert").filter(has_text="expired or was deleted")).to_be_visible()
