"""The page for agents, over a small cluster with a scripted model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.actors.threads.agents import HELD, RECORDED
from tests.actors.threads.caller import Caller
from tests.actors.threads.test_promises import ADD, called
from tests.api.pages.agents_page import AgentsPage
from tests.api.pages.agents_site import AgentsSite, agents_site
from tests.api.pages.widths import has_no_sideways_scroll

pytestmark = pytest.mark.browser


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[AgentsSite]:
    async with agents_site(tmp_path) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def shown(page: Page, site: AgentsSite) -> AgentsPage:
    """The page, with a new thread."""
    shown = AgentsPage(page, site.base_url)
    await shown.visit()
    return shown


async def test_an_agent_is_chosen_and_its_work_is_watched(shown: AgentsPage) -> None:
    await expect(shown.threads).to_contain_text("No threads yet.")
    await shown.agent.select_option("limited")
    await shown.prompt(f"{called('hold', name='a')}\n{called('draw', name='b')}")
    held, drawn = shown.call("hold"), shown.call("draw")
    await expect(held.locator(".part")).to_have_text('{"name": "a"}')
    await expect(held.get_by_text("holding a")).to_be_visible()
    await expect(drawn.locator(".result .part").nth(0)).to_have_text("é")
    await expect(shown.answers).to_have_count(0)
    await expect(shown.cancel).to_be_visible()
    HELD["b"].set()
    await expect(drawn.locator(".result .part").nth(1)).to_have_text('{"more": 1}')
    async with shown.page.expect_download() as download:
        await drawn.get_by_role("button", name="Save image/x-test").click()
    assert (await (await download.value).path()).read_bytes() == b"\x00\xff"
    HELD["a"].set()
    await expect(held.locator(".part").nth(1)).to_have_text("a")
    await expect(shown.answers).to_contain_text("told a, ")
    await expect(shown.runs.locator(".numbers")).to_contain_text("2 calls")
    await expect(shown.cancel).to_be_hidden()
    await expect(shown.agent).to_be_disabled()
    await expect(shown.agent).to_have_value("limited")


async def test_calls_are_approved_or_denied_and_questions_answered(shown: AgentsPage) -> None:
    lines = (called("pay", amount=20), called("pay", amount=30), called("order"), called("pick", kind="file"))
    await shown.prompt("\n".join(lines))
    await expect(shown.asks).to_have_count(4)
    await expect(shown.runs).to_contain_text("Waits for an answer")
    first, second = shown.call("pay").nth(0), shown.call("pay").nth(1)
    await expect(first).to_contain_text('May pay be called with {"amount": 20}?')
    await second.get_by_label("Reason").fill("<b>too</b> much")
    await first.get_by_role("button", name="Approve").click()
    await expect(first).to_contain_text("Approved")
    await expect(first).to_contain_text("paid 20")
    await second.get_by_role("button", name="Deny").click()
    await expect(second).to_contain_text("Denied: <b>too</b> much")
    order = shown.call("order")
    await order.get_by_label("Answer").fill("soup")
    await order.get_by_role("button", name="Answer").click()
    await expect(order.get_by_text("How many?")).to_be_visible()
    await order.get_by_label("Answer").fill("two")
    await order.get_by_role("button", name="Answer").click()
    await expect(order.get_by_role("alert")).to_have_text("Answer: a whole number is expected.")
    await order.get_by_label("Answer").fill("2")
    await order.get_by_label("Answer").press("Enter")
    await expect(order).to_contain_text("2 soup for")
    pick = shown.call("pick")
    await pick.get_by_label("Result").fill('{"path": ')
    await pick.get_by_role("button", name="Send result").click()
    await expect(pick.get_by_role("alert")).to_contain_text("this is not JSON")
    await pick.get_by_label("Result").fill('{"path": "a.txt"}')
    await pick.get_by_role("button", name="Send result").click()
    await expect(shown.answers).to_contain_text("told paid 20, Error: <b>too</b> much, 2 soup for")
    await expect(shown.answers).to_contain_text('{"path": "a.txt"}')
    assert RECORDED == ["pay 20", "order 2 soup"]


async def test_a_run_is_joined_and_others_wait_for_it(shown: AgentsPage) -> None:
    await shown.prompt(called("hold", name="a"))
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    await shown.busy.select_option("Waits")
    await shown.prompt("say later")
    await expect(shown.run("say later")).to_contain_text("Waits for its turn")
    await shown.busy.select_option("Joins in")
    async with shown.page.expect_response(lambda response: "say joined" in (response.request.post_data or "")):
        await shown.prompt("say joined")
    HELD["a"].set()
    await expect(shown.answers).to_have_text([re.compile("joined$"), re.compile("later$")])
    await expect(shown.runs).to_have_count(2)
    await expect(shown.runs.nth(0)).to_contain_text("say joined")


async def test_a_run_is_cancelled_and_what_it_said_stays(shown: AgentsPage) -> None:
    await shown.prompt(called("hold", name="a"))
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    await shown.page.keyboard.press("Escape")
    await expect(shown.runs).to_contain_text("Cancelled (user).")
    await expect(shown.cancel).to_be_hidden()
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    await shown.prompt(called("pay", amount=20))
    await shown.cancel.click()
    await expect(shown.runs.nth(1)).to_contain_text("Cancelled (user).")
    await expect(shown.call("pay")).to_contain_text("Not answered.")
    await shown.prompt("say on")
    await expect(shown.answers).to_have_text([re.compile("on$")])


async def test_tabs_and_reloads_show_one_thread_while_it_runs(
    shown: AgentsPage, browser: Browser, site: AgentsSite
) -> None:
    await shown.prompt(f"{called('hold', name='a')}\n{called('pay', amount=20)}")
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    other = AgentsPage(await browser.new_page(), site.base_url)
    await other.visit(f"#{shown.page.url.partition('#')[2]}")
    await expect(other.page.get_by_text("holding a")).to_be_visible()
    await shown.page.reload()
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    await expect(shown.prompts).to_have_count(1)
    await other.asks.get_by_role("button", name="Approve").click()
    await expect(shown.asks).to_contain_text("Approved")
    HELD["a"].set()
    for tab in (shown, other):
        await expect(tab.answers).to_have_text([re.compile("told a, paid 20$")])
    await other.prompt("say from the other")
    await expect(shown.answers.nth(1)).to_contain_text("from the other")
    assert RECORDED.count("pay 20") == 1


async def test_threads_are_listed_opened_and_deleted(shown: AgentsPage, browser: Browser, site: AgentsSite) -> None:
    async with httpx.AsyncClient(base_url=site.base_url) as http:
        await Caller(http).prompt("say named", "my thread", agent="plain")
    await shown.prompt("say hello")
    await expect(shown.answers).to_have_count(1)
    entries = shown.threads.get_by_role("button", name=re.compile("helper|plain"))
    await expect(entries).to_have_text([re.compile("say hello.*helper"), re.compile("my thread.*plain")])
    await entries.nth(1).click()
    await expect(shown.answers).to_have_text([re.compile("named$")])
    await expect(shown.agent).to_have_value("plain")
    await shown.page.go_back()
    await expect(shown.answers).to_have_text([re.compile("hello$")])
    other = AgentsPage(await browser.new_page(), site.base_url)
    await other.visit(f"#{shown.page.url.partition('#')[2]}")
    await expect(other.answers).to_have_count(1)
    await shown.page.get_by_role("button", name="Delete “say hello”").click()
    await shown.page.get_by_role("button", name="Keep it").click()
    await expect(entries).to_have_count(2)
    await shown.page.get_by_role("button", name="Delete “say hello”").click()
    await shown.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(entries).to_have_count(1)
    await expect(shown.answers).to_have_count(0)
    await expect(shown.agent).to_be_enabled()
    await expect(other.page.get_by_role("alert")).to_contain_text("was deleted")
    await expect(other.field).to_be_hidden()


async def test_what_other_agents_do_is_shown_and_what_they_ask_is_answered(shown: AgentsPage) -> None:
    await shown.agent.select_option("boss")
    await shown.prompt(called("expert", prompt=called("pay", amount=20)))
    child = shown.page.get_by_role("group", name="Work of expert")
    await expect(child.get_by_role("article", name="You")).to_have_text('call pay {"amount": 20}')
    await expect(shown.cancel).to_be_visible()
    await child.get_by_role("button", name="Approve").click()
    await expect(child.get_by_role("article", name="Answer")).to_contain_text("told paid 20")
    await expect(shown.answers.nth(1)).to_contain_text("told told paid 20")
    await expect(shown.runs).to_have_count(1)
    await expect(shown.agent).to_have_value("boss")
    await expect(shown.page.get_by_role("heading", level=1)).to_have_text(re.compile("^call expert"))
    assert RECORDED == ["pay 20"]


async def test_a_thread_branches_from_an_answer(shown: AgentsPage) -> None:
    for number in range(2):
        await shown.prompt(f"say {number}")
        await expect(shown.answers).to_have_count(number + 1)
    branch = shown.page.get_by_role("button", name="Branch into a new thread from here")
    await branch.nth(0).click()
    await expect(shown.threads.get_by_role("button", name="say 0 (branch)").first).to_be_visible()
    await expect(shown.answers).to_have_text([re.compile("0$")])
    await shown.prompt("say other")
    await expect(shown.answers).to_have_text([re.compile("0$"), re.compile("other$")])
    await shown.page.go_back()
    await expect(shown.answers).to_have_text([re.compile("0$"), re.compile("1$")])


async def test_a_prompt_is_changed_and_an_answer_made_again_in_a_thread_of_its_own(shown: AgentsPage) -> None:
    for word in ("one", "two"):
        await shown.prompt(f"say {word}")
        await expect(shown.prompts.get_by_text(f"say {word}")).to_be_visible()
    await expect(shown.answers).to_have_text([re.compile("one$"), re.compile("two$")])
    edit = shown.page.get_by_role("button", name="Edit the message")
    field = shown.page.get_by_role("textbox", name="Edit the message")
    await edit.nth(1).focus()
    await shown.page.keyboard.press("Enter")
    await expect(field).to_be_focused()
    await expect(field).to_have_value("say two")
    await shown.page.keyboard.press("Escape")
    await expect(edit.nth(1)).to_be_focused()
    await expect(shown.prompts).to_have_text(["say one", "say two"])
    await edit.nth(1).click()
    await field.fill("say <b>other</b>")
    await shown.page.keyboard.press("Enter")
    await expect(shown.prompts).to_have_text(["say one", "say <b>other</b>"])
    await expect(shown.answers).to_have_text([re.compile("one$"), re.compile("other</b>$")])
    await edit.nth(0).click()
    await field.fill("say first")
    await shown.page.keyboard.press("Enter")
    await expect(shown.prompts).to_have_text(["say first"])
    await expect(shown.answers).to_have_text([re.compile("first$")])
    await shown.page.get_by_role("button", name="Answer again in a new thread").click()
    await expect(shown.threads.get_by_role("button", name=re.compile("^say first"))).to_have_count(2)
    await expect(shown.answers).to_have_text([re.compile("first$")])
    for texts in (["say first"], ["say one", "say <b>other</b>"], ["say one", "say two"]):
        await shown.page.go_back()
        await expect(shown.prompts).to_have_text(texts)


async def test_of_a_long_thread_the_latest_prompts_are_shown_first(shown: AgentsPage, site: AgentsSite) -> None:
    async with httpx.AsyncClient(base_url=site.base_url, timeout=60) as http:
        caller = Caller(http)
        first = await caller.prompt("say 0", "long", agent="quiet")
        begun = [await caller.begin(f"say {number}", "long", agent="quiet") for number in range(1, 101)]
        await caller.wait(begun[-1]["run_id"])
    await shown.visit(f"#{first['thread_id']}")
    await expect(shown.answers).to_have_count(100)
    await expect(shown.answers.nth(0)).to_contain_text("1")
    edit = shown.page.get_by_role("button", name="Edit the message")
    await expect(edit).to_have_count(99)  # before the first there is what was not read
    await shown.page.get_by_role("button", name="Earlier messages").click()
    await expect(shown.answers).to_have_count(101)
    await expect(edit).to_have_count(101)
    await expect(shown.page.get_by_role("button", name="Earlier messages")).to_be_hidden()


async def test_hostile_text_is_text(shown: AgentsPage) -> None:
    hostile = "<img src=x onerror=document.title='broken'>"
    await shown.prompt(f"{called('fail', why=hostile)}\n{called('weather', city=hostile)}")
    await expect(shown.call("fail")).to_contain_text(f"FailedValueError: {hostile}")
    await expect(shown.call("weather")).to_contain_text(f"Resultsunny in {hostile}")
    await expect(shown.answers).to_contain_text(hostile)
    await expect(shown.page.locator("main img, main script")).to_have_count(0)
    await expect(shown.page).to_have_title(re.compile("^call fail"))


async def test_a_server_that_was_away_loses_and_repeats_nothing(shown: AgentsPage, site: AgentsSite) -> None:
    await shown.prompt(called("hold", name="a"))
    await expect(shown.page.get_by_text("holding a")).to_be_visible()
    await site.stop()
    await expect(shown.page.get_by_text("The server cannot be reached; trying again.")).to_be_visible()
    await shown.prompt(ADD)
    await expect(shown.page.get_by_role("alert")).to_contain_text("cannot be reached")
    await expect(shown.field).to_have_value(ADD)
    HELD["a"].set()
    await site.start()
    await expect(shown.answers).to_have_text([re.compile("told a$")])
    await expect(shown.page.get_by_text("holding a")).to_have_count(1)


async def test_all_of_it_works_by_keyboard(shown: AgentsPage) -> None:
    press, keyboard = shown.page.keyboard.press, shown.page.keyboard
    await expect(shown.field).to_be_focused()
    await keyboard.type(called("pay", amount=20))
    await press("Enter")
    await expect(shown.asks).to_be_visible()
    for _ in range(4):  # the reason, Deny and Approve are before the field
        await press("Shift+Tab")
        if await shown.asks.get_by_role("button", name="Approve").evaluate("(node) => node === document.activeElement"):
            break
    await press("Enter")
    await expect(shown.asks).to_contain_text("Approved")
    await expect(shown.field).to_be_focused()
    await expect(shown.answers).to_contain_text("told paid 20")


async def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, site: AgentsSite) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 800}, is_mobile=True, has_touch=True)
    shown = AgentsPage(await context.new_page(), site.base_url)
    await shown.visit()
    lines = (
        called("weather", city="x" * 300),
        called("pay", amount=20),
        called("order"),
        called("fail", why="y" * 300),
    )
    await shown.prompt("\n".join(lines))
    await expect(shown.asks).to_have_count(2)
    await has_no_sideways_scroll(shown.page)
    await shown.asks.get_by_role("button", name="Approve").click()
    await expect(shown.call("pay")).to_contain_text("paid 20")
    await shown.page.get_by_role("button", name="Threads").click()
    await expect(shown.page.get_by_role("navigation", name="Threads")).to_be_visible()
    await has_no_sideways_scroll(shown.page)
    await shown.page.get_by_role("link", name="Inferlets").click()
    await expect(shown.page.get_by_role("heading", name="Programs beside the model.")).to_be_visible()
