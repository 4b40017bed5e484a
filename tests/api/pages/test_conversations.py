"""Titles, search, export, and a context that is full."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, expect

from api.cluster import SessionOptions
from api.turns import Message
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.pages.chat_page import ChatPage
from tests.api.pages.site import Restartable, fake_site

pytestmark = pytest.mark.browser


async def test_titles_come_from_the_server_and_are_renamed_there(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    session = await cluster.open_session(SessionOptions(title="from a program"), "")
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    conversations = page.get_by_role("navigation", name="Conversations")
    await conversations.get_by_role("button", name="Rename “from a program”").click()
    field = conversations.get_by_role("textbox", name="Title")
    await expect(field).to_be_focused()
    await field.fill("given up")
    await page.keyboard.press("Escape")
    await expect(conversations.get_by_role("button", name=re.compile("^from a program"))).to_be_visible()
    await conversations.get_by_role("button", name="Rename “from a program”").click()
    await field.fill("renamed \u202eby hand")
    await page.keyboard.press("Enter")
    await expect(conversations.get_by_role("button", name=re.compile("^renamed"))).to_be_visible()
    assert (await session.describe()).title == "renamed \u202eby hand"


async def test_a_conversation_is_found_by_its_title(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    for title in ("Groceries", "A trip to Rome", "Tax"):
        await cluster.open_session(SessionOptions(title=title), "")
    await ChatPage(page, server.base_url).visit()
    chats = page.get_by_role("list", name="Chats").get_by_role("listitem")
    await expect(chats).to_have_count(3)
    await page.get_by_role("searchbox", name="Search the titles").fill("rome")
    await expect(chats).to_have_count(1)
    await expect(chats).to_contain_text("A trip to Rome")
    await page.get_by_role("searchbox", name="Search the titles").fill("nothing like it")
    await expect(chats).to_have_text("No title has this.")


async def exported(page: Page, form: str) -> tuple[str, str]:
    """The name and the text of the file."""
    await page.get_by_role("button", name="Export").click()
    async with page.expect_download() as downloading:
        await page.get_by_role("dialog", name="Export").get_by_role("button", name=form).click()
    download = await downloading.value
    return download.suggested_filename, await asyncio.to_thread(Path(await download.path()).read_text)


async def test_a_conversation_is_exported(page: Page, server: Restartable, cluster: FakeCluster) -> None:
    chat = ChatPage(page, server.base_url)
    await chat.visit()
    cluster.model = toy_model.says("**Good** day.</s>")
    await chat.ask_and_wait("Hello, tell me: is it a *good* day?")
    name, text = await exported(page, "Markdown")
    assert name == "hello-tell-me-is-it-a-good-day.md"
    assert text.startswith("# Hello, tell me: is it a *good* day?\n\ntoy, opened 1970-01-01 00:00 UTC, ")
    assert text.endswith("\n\n## You\n\nHello, tell me: is it a *good* day?\n\n## Answer\n\n**Good** day.\n")
    name, text = await exported(page, "JSON")
    assert name == "hello-tell-me-is-it-a-good-day.json"
    view = json.loads(text)
    (session,) = cluster.open_sessions.values()
    assert (view["id"], view["length"], view["turns"][0]["text"]) == (
        session.session_id,
        len(session.ids),
        "**Good** day.",
    )


@pytest.fixture
def small_cluster() -> FakeCluster:
    cluster = FakeCluster(replace(TOY, max_context_tokens=200))
    cluster.model = toy_model.says("Yes.</s>")
    return cluster


async def test_a_full_context_says_what_helps_and_the_last_turns_come_along(
    page: Page, small_cluster: FakeCluster
) -> None:
    async with fake_site(small_cluster) as server:
        chat = ChatPage(page, server.base_url)
        await chat.visit()
        for number in range(3):
            await chat.ask_and_wait(f"short question {number}")
        room = page.get_by_role("status").filter(has_text="too long")
        await expect(room).to_have_count(0)
        long = "a long question " * 8
        await chat.field.fill(long)
        await expect(room).to_be_visible()
        await chat.field.press("Enter")
        failure = page.get_by_role("alert").filter(has_text="does not fit into what is left")
        await expect(failure).to_be_visible()
        await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
        await expect(page.get_by_text("pre-allocated")).to_have_count(0)
        await failure.get_by_role("button", name="New chat with the last turns").click()
        await expect(chat.questions).to_have_count(0)
        await expect(chat.field).to_have_value(long.strip())
        await expect(page.get_by_role("status").filter(has_text="takes the last")).to_be_visible()
        await chat.field.fill("a short one")
        await chat.field.press("Enter")
        await chat.ended(0)
        await expect(chat.questions).to_have_text(re.compile("^a short one"))
        request = small_cluster.turns[-1].request
        said = [(part.role, part.content) for part in request.prompt if isinstance(part, Message)]
        full = next(iter(small_cluster.open_sessions.values()))
        last = ("user", "short question 2"), ("assistant", full.turns[2].text)
        assert said[-3:] == [*last, ("user", "a short one")]
        assert (len(small_cluster.open_sessions), small_cluster.turns[-1].start.base_length) == (2, 0)
        await page.get_by_text("Brought along").click()
        await expect(page.get_by_role("main")).to_contain_text("short question 2")
        await chat.questions.nth(0).hover()
        await chat.questions.nth(0).get_by_role("button", name="Edit the message").click()
        await page.get_by_role("textbox", name="Edit the message").fill("another")
        num_turns = len(small_cluster.turns)
        await page.keyboard.press("Enter")
        await expect(chat.questions.nth(0)).to_contain_text("another")
        for _ in range(1000):
            if len(small_cluster.turns) > num_turns:
                break
            await asyncio.sleep(0.01)
        edited = [part for part in small_cluster.turns[-1].request.prompt if isinstance(part, Message)]
        assert [(part.role, part.content) for part in edited] == [*said[:-1], ("user", "another")]


async def test_a_message_that_does_not_fit_can_be_made_shorter(page: Page, small_cluster: FakeCluster) -> None:
    async with fake_site(small_cluster) as server:
        chat = ChatPage(page, server.base_url)
        await chat.visit()
        await chat.ask("x" * 300)
        await chat.answers.nth(0).get_by_role("button", name="Shorten it").click()
        await expect(chat.field).to_have_value("x" * 300)
        await chat.ask_and_wait("x")


async def test_a_conversation_that_is_full_says_so_before_anything_is_written(
    page: Page, small_cluster: FakeCluster
) -> None:
    small_cluster.model = toy_model.letters
    async with fake_site(small_cluster) as server:
        chat = ChatPage(page, server.base_url)
        await chat.visit()
        await chat.ask_and_wait("go on for ever")
        await expect(chat.answers.nth(0)).to_contain_text("The context is full")
        await expect(
            page.get_by_role("status").filter(has_text="This conversation is full: 201 of 200")
        ).to_be_visible()
        await page.get_by_role("button", name="New chat with the last turns").click()
        await chat.ask("hello")
        await expect(chat.answers).to_have_count(1)


async def test_the_page_and_openais_api_go_on_with_each_others_conversations(page: Page, server: Restartable) -> None:
    chat = ChatPage(page, server.base_url)
    async with httpx.AsyncClient(base_url=f"{server.base_url}/v1", timeout=30) as openai:
        item = {"type": "message", "role": "user", "content": "From a program"}
        made = (await openai.post("/conversations", json={"items": [item]})).json()["id"]
        await openai.post("/responses", json={"conversation": made, "input": "One", "max_output_tokens": 3})
        await page.goto(f"{server.base_url}/#{made}")
        await expect(chat.questions).to_have_text([re.compile("From a program\\s+One")])
        await chat.ask_and_wait("Two")
        current = page.get_by_role("list", name="Chats").locator("[aria-current]")
        await expect(current).to_contain_text("From a program")
        assert await texts(openai, made) == ["From a program", "One", "Two"]
        await chat.visit()
        await chat.ask_and_wait("From the page")
        await page.wait_for_function("location.hash.length > 1")
        conversation = f"conv_{page.url.partition('#')[2]}"
        await openai.post("/responses", json={"conversation": conversation, "input": "Back", "max_output_tokens": 3})
        await expect(chat.questions.nth(1)).to_have_text("Back")
        assert await texts(openai, conversation) == ["From the page", "Back"]


async def texts(openai: httpx.AsyncClient, conversation: str) -> list[str]:
    """What users said."""
    items = (await openai.get(f"/conversations/{conversation}/items?order=asc")).json()["data"]
    return [item["content"][0]["text"] for item in items if item["role"] == "user"]
