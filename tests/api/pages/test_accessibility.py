"""axe finds nothing to complain of, in any state of the pages, light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from api.cluster import SessionOptions
from api.errors import InvalidRequest, LengthExceeded
from api.inferlet_events import Completed, Message, Stderr, Stdout
from tests.actors.threads.agents import HELD
from tests.actors.threads.test_promises import called
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.http.test_security import KEYS
from tests.api.pages.agents_page import AgentsPage
from tests.api.pages.agents_site import agents_site
from tests.api.pages.chat_page import ChatPage
from tests.api.pages.conftest import PATIENCE_MS
from tests.api.pages.inferlets_page import InferletsPage
from tests.api.pages.site import Restartable, fake_site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ANSWER = """## A plan
#### Details
Some **bold** words, `code` and [a link](https://example.org).

| Day | Cost |
|:----|-----:|
| Monday | 12 |

- [x] done
- one
  - two

> quoted

```python
print("hello")
```
"""


@pytest_asyncio.fixture(loop_scope="session", params=["light desk", "dark phone"])
async def page(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[Page]:
    scheme, _, device = request.param.partition(" ")
    is_phone = device == "phone"
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 390, "height": 800} if is_phone else {"width": 1200, "height": 800},
        is_mobile=is_phone,
        has_touch=is_phone,
        reduced_motion="reduce",
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    await context.close()


async def check(page: Page, state: str) -> None:
    results = await Axe().run(page)
    found = [
        (violation["id"], node["html"][:200], node["failureSummary"])
        for violation in results.response["violations"]
        for node in violation["nodes"]
    ]
    assert found == [], state


async def open_list(page: Page) -> None:
    """The list of conversations, which a phone does not show at first."""
    opener = page.get_by_role("button", name="Conversations", exact=True)
    if await opener.is_visible():
        await opener.click()
        await expect(page.get_by_role("navigation", name="Conversations")).to_be_visible()


async def test_the_chat(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    cluster.model = toy_model.says(f"{ANSWER}</s>")
    await cluster.open_session(SessionOptions(title="another"), "")
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await check(page, "welcome")
    cluster.pace.hold()
    await chat.ask("What shall I do?")
    await check(page, "waiting")
    cluster.pace.allow(30)
    await chat.begun(0)
    await check(page, "streaming")
    cluster.pace.release()
    await chat.ended(0)
    await check(page, "answered")
    await chat.answers.nth(0).get_by_role("button", name="Answer again").click()
    await chat.ended(0)
    await check(page, "branches")
    await chat.questions.nth(0).hover()
    await chat.questions.nth(0).get_by_role("button", name="Edit the message").click()
    await check(page, "editing")
    await page.keyboard.press("Escape")
    await open_list(page)
    await check(page, "list")
    await page.get_by_role("button", name="Rename “another”").click()
    await check(page, "renaming")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Delete “another”").click()
    await check(page, "deleting")
    await page.get_by_role("button", name="Keep it").click()


async def test_the_chats_dialogs_and_failures(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    cluster.model = toy_model.says("Yes.</s>")
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("hello")
    for name in ("Settings", "Export"):
        await page.get_by_role("button", name=name).click()
        await expect(page.get_by_role("dialog", name=name)).to_be_visible()
        await check(page, name)
        await page.keyboard.press("Escape")
    await chat.field.fill("x" * 20_000)
    await expect(page.get_by_role("status").filter(has_text="too long")).to_be_visible()
    await check(page, "too long")
    cluster.refusal = LengthExceeded(10, 20, 25)
    await chat.ask("x")
    await expect(page.get_by_role("alert")).to_be_visible()
    await check(page, "does not fit")
    await page.get_by_role("button", name="New chat with the last turns").click()
    await check(page, "brings turns along")
    await chat.ask("x")
    await chat.ended(0)
    await page.get_by_text("Brought along").click()
    await check(page, "brought turns along")
    cluster.refusal = InvalidRequest("this cannot be")
    await chat.ask("y")
    await expect(page.get_by_role("alert")).to_be_visible()
    await check(page, "failed")
    await server.stop()
    await expect(page.locator("#offline")).to_be_visible()
    await check(page, "offline")
    await server.start()
    await expect(page.locator("#offline")).to_be_hidden()
    cluster.open_sessions.clear()
    await chat.ask("z")
    await expect(page.get_by_role("alert").filter(has_text="has expired").first).to_be_visible()
    await check(page, "expired")


async def test_the_question_for_a_key(page: Page, cluster: FakeCluster) -> None:
    async with fake_site(cluster, KEYS) as server:
        await page.goto(server.base_url)
        dialog = page.get_by_role("dialog", name="This server asks for an API key")
        await dialog.get_by_label("API key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await check(page, "key")


async def test_the_inferlets(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown = InferletsPage(page, server.base_url)
    await shown.visit()
    await check(page, "welcome")
    inferlet = await cluster.launch(
        await cluster.upload_program("inferlet", "chat.py", ""), ("-r", "1"), "", "my tutor"
    )
    await shown.visit(f"#inferlet/{inferlet.instance_id}")
    await expect(shown.field).to_be_focused()
    await shown.send("hello")
    inferlet.add(Message(0, "text"), Message(1, {"a": [1]}), Stdout(2, "out"), Stderr(3, "err"))
    await expect(shown.entry("err")).to_be_visible()
    await check(page, "talking")
    await shown.terminate.click()
    await check(page, "terminating")
    await page.get_by_role("button", name="Let it run").click()
    inferlet.add(Completed(4, "the end"))
    await expect(shown.entry("the end")).to_be_visible()
    await check(page, "ended")
    opener = page.get_by_role("button", name="Inferlets and topics", exact=True)
    if await opener.is_visible():
        await opener.click()
    await check(page, "list")
    await page.get_by_role("navigation").get_by_role("button", name="Launch a program").click()
    await check(page, "launching")


async def test_the_agents(page: Page, tmp_path: Path) -> None:
    async with agents_site(tmp_path) as site:
        shown = AgentsPage(page, site.base_url)
        await shown.visit()
        await check(page, "welcome")
        asking = (called("pay", amount=20), called("order"), called("pick", kind="file"))
        await shown.prompt("\n".join((called("hold", name="a"), *asking, called("fail", why="no"))))
        await expect(shown.asks).to_have_count(3)
        await expect(shown.call("hold").get_by_text("holding a")).to_be_visible()
        await shown.prompt("say queued")
        await check(page, "running and asking")
        await shown.asks.get_by_role("button", name="Approve").click()
        await shown.asks.get_by_role("button", name="Answer").click()
        await expect(shown.asks.get_by_role("alert").first).to_be_visible()
        await check(page, "answered, and not yet well")
        await shown.cancel.click()
        await expect(shown.run("Cancelled (user).")).to_be_visible()
        HELD["a"].set()
        await shown.prompt("say # A title")
        await expect(shown.answers.get_by_role("heading", name="A title")).to_be_visible()
        await check(page, "ended")
        opener = page.get_by_role("button", name="Threads", exact=True)
        if await opener.is_visible():
            await opener.click()
        await check(page, "list")
        await page.get_by_role("button", name="Delete “").click()
        await check(page, "deleting")
        await page.get_by_role("button", name="Keep it").click()
        await shown.visit("#nothing")
        await expect(page.get_by_role("alert")).to_contain_text("does not exist")
        await check(page, "gone")
