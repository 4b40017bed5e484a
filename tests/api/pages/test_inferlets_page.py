"""The page for inferlets and topics, over a cluster in memory."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, Page, expect

from api.errors import Forbidden
from api.inferlet_events import Completed, Failed, Message, Stderr, Stdout
from api.names import TopicId
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_inferlets import FakeInferlet
from tests.api.http.test_security import KEYS
from tests.api.pages.inferlets_page import InferletsPage
from tests.api.pages.site import Restartable, fake_site
from tests.api.pages.widths import has_no_sideways_scroll

pytestmark = pytest.mark.browser


async def opened(page: Page, server: Restartable, cluster: FakeCluster) -> tuple[InferletsPage, FakeInferlet]:
    """The page with an inferlet that is launched past it."""
    inferlet = await cluster.launch(
        await cluster.upload_program("inferlet", "chat.py", ""), ("-r", "1"), "", "my tutor"
    )
    shown = InferletsPage(page, server.base_url)
    await shown.visit(f"#inferlet/{inferlet.instance_id}")
    await expect(shown.field).to_be_focused()
    return shown, inferlet


async def test_a_program_is_uploaded_launched_and_talked_to(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    shown = InferletsPage(page, server.base_url)
    await shown.visit()
    await expect(shown.inferlets).to_contain_text("No inferlets yet.")
    await shown.launch("chat.py", "an inferlet", arguments="--rank\n1 and more\n", name="my tutor")
    (inferlet,) = cluster.launched.values()
    assert (inferlet.arguments, inferlet.name) == (("--rank", "1 and more"), "my tutor")
    await expect(page.get_by_role("heading", name="my tutor")).to_be_visible()
    await expect(shown.inferlets.get_by_role("button")).to_have_text(re.compile("^my tutorrunning"))
    inferlet.add(Message(0, "Hello, user!"))
    await expect(shown.entries).to_have_text([re.compile("Hello, user!$")])
    await shown.send("I need\nhelp")
    await expect(shown.entries.nth(1)).to_have_text("I need\nhelp")
    inferlet.add(Message(1, "With what?"))
    await expect(shown.entries).to_have_count(3)
    assert list(inferlet.received.values()) == ["I need\nhelp"]


async def test_every_event_shows_what_it_is(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown, inferlet = await opened(page, server, cluster)
    inferlet.add(Stdout(0, "one\n"), Stdout(1, "two\n"), Stderr(2, "careful\n"), Message(3, {"a": [1]}))
    inferlet.add(
        Message(4, b"\x00\xff"), Message(5, "<img src=x onerror=document.title='broken'>"), Failed(6, "no & no")
    )
    texts = ["stdoutone\ntwo\n", "stderrcareful\n", 'Message 3{\n  "a": [\n    1\n  ]\n}', "Message 42 bytes00 ff"]
    texts += ["Message 5<img src=x onerror=document.title='broken'>", "Failedno & no"]
    await expect(shown.entries).to_have_text(texts, use_inner_text=False)
    await expect(page).to_have_title("my tutor · Greenroom")
    await expect(shown.field).to_be_hidden()
    await expect(shown.terminate).to_be_hidden()


async def test_a_result_is_shown_and_announced(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown, inferlet = await opened(page, server, cluster)
    inferlet.add(Message(0, "almost"))
    await expect(page.locator("[aria-live=polite]")).to_have_text("almost")
    inferlet.add(Completed(1, 7))
    await expect(shown.entries.nth(1)).to_have_text("Completed7")
    await expect(page.locator("[aria-live=polite]")).to_have_text("Completed")


async def test_json_is_sent_as_json_and_what_is_none_is_said(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    shown, inferlet = await opened(page, server, cluster)
    await page.get_by_label("It is sent as").select_option("JSON")
    await shown.send('{"a": [1, null')
    await expect(page.get_by_role("alert")).to_contain_text("This is not JSON")
    await expect(shown.field).to_have_value('{"a": [1, null')
    await shown.send('{"a": [1, null]}')
    await expect(shown.entries).to_have_count(1)
    await expect(page.get_by_role("alert")).to_be_hidden()
    assert list(inferlet.received.values()) == [{"a": [1, None]}]


async def test_an_inferlet_is_terminated_after_asking(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown, inferlet = await opened(page, server, cluster)
    question = page.get_by_role("dialog", name="Terminate this inferlet?")
    await shown.terminate.click()
    await page.keyboard.press("Escape")
    assert inferlet.log == []
    await shown.terminate.click()
    await question.get_by_role("button", name="Terminate").click()
    await expect(shown.entries).to_have_text(["Terminated"])
    await expect(shown.inferlets.get_by_role("button")).to_contain_text("terminated")
    await expect(shown.terminate).to_be_hidden()


async def test_an_upload_that_is_refused_says_why_and_a_listed_program_launches(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    await cluster.upload_program("inferlet", "listed.py", "")

    async def refuse(source: str, file: str, owner: str) -> str:
        raise Forbidden("programs may be uploaded from this machine only")

    cluster.upload_program = refuse  # type: ignore[method-assign]
    shown = InferletsPage(page, server.base_url)
    await shown.visit()
    await page.get_by_role("main").get_by_role("button", name="Launch a program").click()
    await shown.upload("chat.py", "an inferlet")
    await expect(shown.launcher.get_by_role("alert")).to_have_text("programs may be uploaded from this machine only")
    await shown.launcher.get_by_role("button", name="Launch", exact=True).click()
    await expect(page.get_by_role("heading", name="listed")).to_be_visible()
    assert len(cluster.launched) == 1


async def test_topics_are_listed_with_their_rate_read_and_published_to(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    for number in range(3):
        await cluster.topics.publish(TopicId("public/news"), f"number {number}")
    cluster.topics.first = 1
    shown = InferletsPage(page, server.base_url)
    await shown.visit()
    await expect(shown.topics.get_by_role("button")).to_have_text("public/news0.5/s · 3 messages · 0 readers")
    await shown.topics.get_by_role("button").click()
    await expect(shown.entries).to_have_count(3)
    await expect(shown.entries.nth(0)).to_have_text("1 message before this is no longer retained.")
    await shown.send("from the page")
    await expect(shown.entries.nth(3)).to_contain_text("from the page")
    assert cluster.topics.messages[TopicId("public/news")][-1].value == "from the page"
    await expect(shown.facts).to_have_text("0.5/s · 4 messages · 1 reader")
    cluster.topics.first = 0
    await page.get_by_label("Open a topic").fill("a new one/here")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="a new one/here")).to_be_visible()
    await shown.send("first")
    await expect(shown.entries).to_have_text([re.compile("first$")])
    await page.go_back()
    await expect(shown.entries).to_have_count(4)


async def test_a_server_that_was_away_loses_and_repeats_nothing(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    shown, inferlet = await opened(page, server, cluster)
    inferlet.add(Message(0, "before"))
    await expect(shown.entries).to_have_count(1)
    await server.stop()
    await expect(page.get_by_text("The server cannot be reached; trying again.")).to_be_visible()
    await shown.send("sent meanwhile")
    inferlet.add(Message(1, "said meanwhile"))
    await server.start()
    await expect(shown.entries).to_have_count(3)
    await expect(page.get_by_text("The server cannot be reached; trying again.")).to_be_hidden()
    inferlet.add(Message(2, "after"))
    await expect(shown.entries).to_have_count(4)
    await expect(page.locator(".sending")).to_have_count(0)
    assert list(inferlet.received.values()) == ["sent meanwhile"]


async def test_a_reload_shows_what_both_said_in_its_order(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    shown, inferlet = await opened(page, server, cluster)
    said = ["a0", "mine0", "a1", "mine1"]
    for position in range(2):
        inferlet.add(Message(position, f"a{position}"))
        await expect(shown.entries).to_have_count(2 * position + 1)
        await shown.send(f"mine{position}")
        await expect(shown.entries).to_have_count(2 * position + 2)
    await page.reload()
    await expect(shown.entries).to_have_text([re.compile(f"{text}$") for text in said])
    inferlet.add(Message(2, "a2"))
    await expect(shown.entries.nth(4)).to_contain_text("a2")


async def test_a_hidden_page_lets_go_of_its_stream_and_goes_on_when_it_is_seen(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    hide = """(isHidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    await cluster.topics.publish(TopicId("news"), "first")
    shown = InferletsPage(page, server.base_url)
    await shown.visit("#topic/news")
    await expect(shown.entries).to_have_count(1)
    async with asyncio.timeout(20), cluster.topics.changed:
        await cluster.topics.changed.wait_for(lambda: cluster.topics.num_subscribers == 1)
        await page.evaluate(hide, True)
        await cluster.topics.changed.wait_for(lambda: cluster.topics.num_subscribers == 0)
    await cluster.topics.publish(TopicId("news"), "second")
    await page.evaluate(hide, False)
    await expect(shown.entries).to_have_text([re.compile("first$"), re.compile("second$")])


async def test_what_does_not_exist_is_said(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown = InferletsPage(page, server.base_url)
    await shown.visit("#inferlet/nothing")
    await expect(page.get_by_role("alert")).to_contain_text("inferlet 'nothing' does not exist")
    await expect(shown.field).to_be_hidden()


async def test_a_message_that_is_refused_is_marked(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    shown, inferlet = await opened(page, server, cluster)
    cluster.launched.clear()
    await shown.send("to nobody")
    await expect(page.get_by_role("alert")).to_contain_text("The message was not accepted")
    await expect(shown.entries).to_have_class(re.compile("refused"))


async def test_a_key_is_asked_for_and_sees_the_owners_own(page: Page, cluster: FakeCluster) -> None:
    program = await cluster.upload_program("inferlet", "chat.py", "ada")
    await cluster.launch(program, (), "ada", "of ada")
    await cluster.upload_program("inferlet", "chat.py", "bob")
    await cluster.launch(program, (), "bob", "of bob")
    async with fake_site(cluster, KEYS) as server:
        await page.goto(f"{server.base_url}/inferlets")
        dialog = page.get_by_role("dialog", name="This server asks for an API key")
        await dialog.get_by_label("API key").fill("key-of-ada")
        await page.keyboard.press("Enter")
        await expect(InferletsPage(page, server.base_url).inferlets.get_by_role("button")).to_contain_text("of ada")


async def test_all_of_it_works_by_keyboard(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    await cluster.upload_program("inferlet", "chat.py", "")
    shown = InferletsPage(page, server.base_url)
    await shown.visit()
    for _ in range(5):
        await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Launch a program")
    await page.keyboard.press("Enter")
    await expect(shown.program).to_contain_text("chat.py")
    await page.keyboard.press("Escape")
    await expect(page.locator(":focus")).to_have_text("Launch a program")
    await page.keyboard.press("Enter")
    await expect(shown.launcher.get_by_role("button", name="Launch", exact=True)).to_be_enabled()  # it lists again
    await shown.launcher.get_by_label("Name").press("Enter")
    await expect(shown.field).to_be_focused()
    await page.keyboard.type("hello")
    await page.keyboard.press("Enter")
    await expect(shown.entries).to_have_text(["hello"])
    await page.keyboard.press("Shift+Tab")
    await expect(shown.terminate).to_be_focused()


async def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Browser, server: Restartable, cluster: FakeCluster
) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True)
    page = await context.new_page()
    shown, inferlet = await opened(page, server, cluster)
    inferlet.add(Message(0, "x" * 300), Stdout(1, "y" * 300), Message(2, ["z" * 300]), Message(3, bytes(300)))
    await expect(shown.entries).to_have_count(4)
    await has_no_sideways_scroll(page)
    await page.get_by_role("button", name="Inferlets and topics").click()
    await expect(page.get_by_role("navigation", name="Inferlets and topics")).to_be_visible()
    await has_no_sideways_scroll(page)
    await page.get_by_role("link", name="Chat").click()
    await expect(page.get_by_role("heading", name="The room is ready.")).to_be_visible()
