"""What needs a cluster that does as it is told: exact texts, errors, keys, and answers that attack the page."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, Page, expect

from api.errors import CapacityExhausted, GreenroomError, InvalidRequest
from api.settings import ApiKey, ApiSettings
from api.turns import Message
from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.pages.chat_page import ChatPage
from tests.api.pages.site import Restartable, fake_site
from tests.api.toy_answers import chat_ids, continuation

pytestmark = pytest.mark.browser


async def answered(page: Page, server: Restartable, cluster: FakeCluster, answer: str) -> ChatPage:
    """The page after the model has said this."""
    cluster.model = toy_model.says(answer + "</s>")
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("hello")
    return chat


ATTACKS = """<script>document.title = "broken"</script>
<img src=x onerror="document.title = 'broken'">
<svg/onload=document.title='broken'>
[a](javascript:document.title='broken')
[b](JaVaScRiPt:document.title='broken')
[c](data:text/html,<script>document.title='broken'</script>)
[d](vbscript:x) [e]( java\tscript:x)
<a href="javascript:document.title='broken'">f</a>
`<b>code</b>`

```html"><img src=x onerror=document.title='broken'>
<script>document.title = "broken"</script>
```

| <img src=x onerror=document.title='broken'> | b |
|---|---|
| <iframe src="javascript:parent.document.title='broken'"></iframe> | d |"""


async def test_an_answer_cannot_attack_the_page(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = await answered(page, server, cluster, ATTACKS)
    answer = chat.answers.nth(0).locator(".markdown")
    await expect(answer.locator("script, img, svg, iframe, b")).to_have_count(0)
    await expect(answer.locator("a")).to_have_count(0)
    await expect(answer).to_contain_text("<img src=x onerror=\"document.title = 'broken'\">")
    await expect(page).to_have_title("hello · Greenroom")


async def test_a_question_is_plain_text(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask("<img src=x onerror=alert(1)> **not bold**")
    await expect(chat.questions.nth(0)).to_contain_text("<img src=x onerror=alert(1)> **not bold**")
    await expect(chat.questions.nth(0).locator("img, strong")).to_have_count(0)


MARKDOWN = [
    ("one\ntwo\n\nthree", ["p", "p"], "one\ntwo three"),
    ("# Title\ntext", ["h3", "p"], "Title text"),
    ("**bold** *italic* _also_ ~~gone~~ `a*b*`", ["strong", "em", "em", "del", "code"], "bold italic also gone a*b*"),
    ("snake_case_name and 2 * 3 * 4 and \\*plain\\*", ["p"], "snake_case_name and 2 * 3 * 4 and *plain*"),
    ("- a\n- b\n  - c\n- d", ["ul", "ul", "li", "li", "li", "li"], "a b c d"),
    ("3. a\n4. b", ["ol", "li", "li"], "a b"),
    ("> quoted\n> **more**", ["blockquote", "strong"], "quoted more"),
    ("```python\nx = 1 < 2\n```\nafter", ["figure", "pre", "p"], "x = 1 < 2 after"),
    ("```\nnever closed", ["pre"], "never closed"),
    ("see https://example.org/a_b_c.", ["a"], "see https://example.org/a_b_c."),
    ("[x](https://example.org) and [y](mailto:a@b.c)", ["a", "a"], "x and y"),
    ("| a | b |\n|---|---|\n| 1 | 2 |", ["table", "th", "th", "td", "td"], "a b 1 2"),
    ("**never closed and `neither", ["p"], "**never closed and `neither"),
    ("---", ["hr"], ""),
]


SHOW = """async (source) => {
  const { showMarkdown } = await import(new URL("pages/markdown.js", document.baseURI));
  const shown = document.createElement("article");
  shown.setAttribute("aria-label", "Shown");
  showMarkdown(shown, source);
  document.querySelector("[aria-label=Shown]")?.remove();
  document.body.append(shown);
}"""


async def test_markdown_becomes_what_it_says(page: Page, server: Restartable) -> None:
    await ChatPage(page, server.base_url).visit()
    shown = page.get_by_role("article", name="Shown")
    for source, tags, text in MARKDOWN:
        await page.evaluate(SHOW, source)
        for tag in set(tags):
            assert await shown.locator(tag).count() == tags.count(tag), (source, tag)
        words = re.sub(r"^(python|code)\s+Copy\s+", "", await shown.inner_text())
        assert words.split() == text.split(), source


async def test_hostile_markdown_is_shown_in_time(page: Page, server: Restartable) -> None:
    await ChatPage(page, server.base_url).visit()
    for source in (
        "*" * 9999,
        "[" * 9999,
        "> " * 5000,
        "- " * 5000,
        "`" * 9999,
        "_a" * 5000,
        "|" * 9999,
        "**a " * 2500,
    ):
        async with asyncio.timeout(30):
            await page.evaluate(SHOW, source)


async def test_code_is_copied_as_it_was_written(browser: Browser, server: Restartable, cluster: FakeCluster) -> None:
    context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = await context.new_page()
    chat = await answered(page, server, cluster, "```python\nif x:\n    y = '<b>'\n```")
    await chat.answers.nth(0).get_by_role("button", name="Copy", exact=True).click()
    await expect(chat.answers.nth(0).locator(".copied")).to_be_visible()
    assert await page.evaluate("() => navigator.clipboard.readText()") == "if x:\n    y = '<b>'"


async def test_a_restart_in_the_middle_is_exact(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    expected = continuation(chat_ids(("user", "hello")), 512)
    cluster.pace.hold()
    await chat.ask("hello")
    cluster.pace.allow(20)
    await expect(chat.answers.nth(0).locator(".markdown")).to_have_text(expected[:20])
    await server.stop()
    await expect(page.get_by_role("status").filter(has_text=re.compile("Reconnecting|Connection lost"))).to_be_visible()
    cluster.pace.allow(100)
    await server.start()
    await expect(chat.answers.nth(0).locator(".markdown")).to_have_text(expected[:120])
    cluster.pace.release()
    assert await chat.ended(0) == expected
    assert len(cluster.turns) == 1


async def test_a_question_sent_while_the_server_is_away_is_answered_later(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("hello")
    await server.stop()
    await chat.ask("more")
    await expect(chat.answers).to_have_count(2)
    await server.start()
    assert await chat.ended(1)
    assert len(cluster.turns) == 2


async def test_the_settings_and_the_system_prompt_reach_the_model(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog", name="Settings")
    await dialog.get_by_label("System prompt").fill("be kind")
    await dialog.get_by_role("slider", name="Temperature").fill("1.5")
    await dialog.get_by_label("Longest answer").fill("7")
    await dialog.get_by_label("Seed").fill("42")
    await dialog.get_by_label("Between turns").select_option("drop")
    await page.keyboard.press("Escape")
    await chat.ask_and_wait("hello")
    await chat.ask_and_wait("again")
    first, second = (turn.request for turn in cluster.turns)
    assert first.prompt == (Message("system", "be kind"), Message("user", "hello"))
    assert second.prompt == (Message("user", "again"),)
    assert (first.sampling.temperature, first.sampling.seed, first.stop.max_tokens) == (1.5, 42, 7)
    (session,) = cluster.open_sessions.values()
    assert session.options.retention.policy == "drop"
    await page.reload()
    await page.get_by_role("button", name="Settings").click()
    await expect(dialog.get_by_label("Longest answer")).to_have_value("7")


async def test_the_first_message_can_be_edited_and_keeps_the_system_prompt(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("System prompt").fill("be kind")
    await page.keyboard.press("Escape")
    await chat.ask_and_wait("hello")
    await chat.questions.nth(0).hover()
    await chat.questions.nth(0).get_by_role("button", name="Edit the message").click()
    await page.get_by_role("textbox", name="Edit the message").fill("good evening")
    await page.keyboard.press("Enter")
    await expect(chat.questions.nth(0)).to_contain_text("good evening")
    await chat.ended(0)
    assert cluster.turns[1].request.prompt == (Message("system", "be kind"), Message("user", "good evening"))
    assert cluster.turns[1].start.base_length == 0


async def test_the_chosen_model_answers(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await page.get_by_label("Model", exact=True).select_option("other")
    await chat.ask_and_wait("hello")
    (session,) = cluster.open_sessions.values()
    assert session.info.name == "other"
    await expect(page.get_by_label("Model", exact=True)).to_be_disabled()


async def test_typing_is_announced(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("hello")
    await chat.field.press_sequentially("how are")
    await chat.field.press("Enter")
    await chat.ended(1)
    (session,) = cluster.open_sessions.values()
    assert session.num_typing == 1


async def test_a_turn_that_cannot_be_says_why_and_can_be_taken_back(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    cluster.refusal = InvalidRequest("this model takes no jokes")
    await chat.ask("hello")
    await expect(page.get_by_role("alert").filter(has_text="This model takes no jokes")).to_be_visible()
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    await chat.answers.nth(0).get_by_role("button", name="Take it back").click()
    await expect(chat.questions).to_have_count(0)
    await expect(chat.field).to_have_value("hello")
    await chat.field.press("Enter")
    await chat.ended(0)


async def test_a_failed_turn_can_be_tried_again(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    cluster.refusal = GreenroomError("something broke")
    await chat.ask("hello")
    await chat.answers.nth(0).get_by_role("button", name="Try again").click()
    await chat.ended(0)
    await expect(chat.questions).to_have_count(1)


async def test_a_server_that_is_busy_is_asked_again(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    cluster.refusal = CapacityExhausted("the attention cache is full")
    await chat.ask_and_wait("hello")
    await expect(page.get_by_role("alert")).to_have_count(0)


async def test_a_conversation_that_has_expired_is_said_and_a_new_one_offered(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("hello")
    cluster.open_sessions.clear()
    await chat.ask("more")
    await expect(page.get_by_role("alert").filter(has_text="has expired or was deleted").first).to_be_visible()
    await expect(chat.questions.nth(0)).to_contain_text("hello")
    assert not cluster.open_sessions, "what was meant for this conversation does not open another"
    await page.get_by_role("alert").get_by_role("button", name="New chat").click()
    await chat.ask_and_wait("hello again")


async def test_conversations_are_listed_opened_and_deleted(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    await chat.ask_and_wait("first one")
    await page.get_by_role("button", name="New chat").click()
    await chat.ask_and_wait("second one")
    conversations = page.get_by_role("navigation", name="Conversations")
    await conversations.get_by_role("button", name=re.compile("^first one")).click()
    await expect(chat.questions.nth(0)).to_contain_text("first one")
    await page.go_back()
    await expect(chat.questions.nth(0)).to_contain_text("second one")
    await conversations.get_by_role("button", name="Delete “second one”").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(conversations.get_by_role("button", name=re.compile("^second one"))).to_have_count(0)
    await expect(page.get_by_role("heading", name="The room is ready.")).to_be_visible()
    assert len(cluster.open_sessions) == 1


async def test_a_key_is_asked_for_and_remembered(page: Page, cluster: FakeCluster) -> None:
    keys = ApiSettings.model_validate({"api_keys": [ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"})]})
    async with fake_site(cluster, keys) as server:
        chat = ChatPage(page, server.base_url)
        await page.goto(server.base_url)
        dialog = page.get_by_role("dialog", name="This server asks for an API key")
        await dialog.get_by_label("API key").fill("wrong-key")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_have_text("This key is not known here.")
        await dialog.get_by_label("API key").fill("key-of-ada")
        await page.keyboard.press("Enter")
        await chat.ask_and_wait("hello")
        await page.reload()
        assert await chat.ended(0)
        await expect(dialog).to_be_hidden()


async def test_a_finished_answer_is_announced_once(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    await answered(page, server, cluster, "Good *day*.")
    announcer = page.locator("[aria-live=polite]")
    await expect(announcer).to_have_text("Answer: Good *day*.")
