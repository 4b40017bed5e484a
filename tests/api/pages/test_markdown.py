"""What Markdown looks like: measured on the page that Chromium lays out."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page

from tests.api.pages.chat_page import ChatPage
from tests.api.pages.site import Restartable
from tests.api.pages.widths import has_no_sideways_scroll

pytestmark = pytest.mark.browser

SHOW = """async (source) => {
  const { showMarkdown } = await import(new URL("pages/markdown.js", document.baseURI));
  const shown = document.createElement("article");
  shown.setAttribute("aria-label", "Shown");
  shown.className = "markdown";
  showMarkdown(shown, source);
  document.querySelector("[aria-label=Shown]")?.remove();
  document.querySelector("#messages").append(shown);
}"""

TABLE = r"""
| Left | Middle \| of it | Right | Free |
|:-----|:-------------:|------:|------|
| `a\|b` | c | 1 | x | surplus |
| only one |
"""


async def shown(page: Page, server: Restartable, source: str) -> Locator:
    await ChatPage(page, server.base_url).visit()
    await page.evaluate(SHOW, source)
    return page.get_by_role("article", name="Shown")


async def style(elements: Locator, name: str) -> list[str]:
    found: list[str] = await elements.evaluate_all(f"(all) => all.map((one) => getComputedStyle(one).{name})")
    return found


async def test_a_table_has_a_head_alignments_and_as_many_cells_as_its_head(page: Page, server: Restartable) -> None:
    table = (await shown(page, server, TABLE)).get_by_role("table")
    heads = table.locator("thead > tr > th[scope=col]")
    assert await heads.all_inner_texts() == ["Left", "Middle | of it", "Right", "Free"]
    rows = table.locator("tbody > tr")
    assert [await row.locator("td").all_inner_texts() for row in await rows.all()] == [
        ["a|b", "c", "1", "x"],
        ["only one", "", "", ""],
    ]
    for cells in (heads, rows.nth(0).locator("td")):
        assert await style(cells, "textAlign") == ["left", "center", "right", "start"]


async def test_a_line_under_a_text_with_a_pipe_makes_a_table_only_where_the_columns_match(
    page: Page, server: Restartable
) -> None:
    article = await shown(page, server, "a | b\n---\n\n| a | b |\n|---|")
    assert await article.get_by_role("table").count() == 0


async def test_a_wide_table_scrolls_on_a_phone_and_breaks_no_word(browser: Browser, server: Restartable) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True)
    page = await context.new_page()
    words = ["Responsibilities", "Internationalisation", "Characteristics", "Uncopyrightable"]
    row = f"| {' | '.join(words)} |\n"
    article = await shown(page, server, f"{row}{'|---' * 4}|\n{row}")
    await has_no_sideways_scroll(page)
    heights = await article.locator("td").evaluate_all(
        "(all) => all.map((one) => { const range = document.createRange(); range.selectNodeContents(one);"
        " return range.getClientRects().length; })"
    )
    assert heights == [1, 1, 1, 1], "each word stands on one line"
    scroller = article.get_by_role("group", name="Table")
    assert await scroller.evaluate("(one) => one.scrollWidth > one.clientWidth")
    await scroller.focus()
    await page.keyboard.press("ArrowRight")
    await page.wait_for_function("() => document.querySelector('.scroller').scrollLeft > 0")


async def test_bullets_tell_the_depth(page: Page, server: Restartable) -> None:
    article = await shown(page, server, "- one\n  - two\n    - three\n      - four\n- one again\n\n1. a\n   - b")
    lists = await article.locator("ul").evaluate_all(
        "(all) => all.map((one) => [getComputedStyle(one).listStyleType, one.firstChild.firstChild.textContent])"
    )
    assert lists == [["disc", "one"], ["circle", "two"], ["square", "three"], ["square", "four"], ["circle", "b"]]


async def test_tasks_have_boxes(page: Page, server: Restartable) -> None:
    article = await shown(page, server, "- [ ] to *do*\n- [x] done\n  - [X] below\n- [] plain\n- [x]nothing")
    boxes = article.get_by_role("checkbox")
    assert [(await box.is_checked(), await box.is_disabled()) for box in await boxes.all()] == [
        (False, True),
        (True, True),
        (True, True),
    ]
    items = await article.get_by_role("listitem").all_inner_texts()
    assert [item.strip().splitlines()[0] for item in items] == ["to do", "done", "below", "[] plain", "[x]nothing"]
    assert await article.locator("em").inner_text() == "do"


async def test_headings_follow_each_other_without_a_gap(page: Page, server: Restartable) -> None:
    article = await shown(page, server, "### a\n# b\n#### c\n###### d\n## e\n> # quoted")
    headings = article.locator("h1, h2, h3, h4, h5, h6")
    assert await headings.evaluate_all("(all) => all.map((one) => one.localName + one.textContent)") == [
        "h3a",
        "h3b",
        "h4c",
        "h5d",
        "h4e",
    ]


PLACES = """(element) => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    [...node.data].forEach((letter, at) => {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      if (/[a-z]/.test(letter)) found.push([range.getBoundingClientRect().left, letter]);
    });
  }
  return found.sort((one, other) => one[0] - other[0]).map(([, letter]) => letter).join("");
}"""


@pytest.mark.parametrize("control", "\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
async def test_a_control_of_direction_turns_nothing_that_follows_it(
    page: Page, server: Restartable, control: str
) -> None:
    source = (
        f"`a{control}bc` def\n\nq **r{control}s** t\n\n- one{control}\n- two\n\n[u{control}v](https://example.org) wx"
    )
    article = await shown(page, server, source)
    for selector, text in (("p >> nth=0", "abcdef"), ("p >> nth=1", "qrst"), ("li >> nth=1", "two"), ("a", "uv")):
        assert await article.locator(selector).evaluate(PLACES) == text
    assert (
        await article.evaluate("(one) => one.textContent")
        == f"a{control}bc defq r{control}s tone{control}twou{control}v wx"
    )
    overridden = await shown(page, server, "abc\u202edef\n\n```\nif x: \u202e# a\n```")
    assert await overridden.locator("p").evaluate(PLACES) == "abcdef"
    assert await overridden.locator("pre").evaluate(PLACES) == "ifxa"


async def test_a_text_in_arabic_runs_from_the_right(page: Page, server: Restartable) -> None:
    article = await shown(page, server, "مرحبا بالعالم\n\nhello\n\n- שלום")
    aligned: list[Any] = await style(article.locator("p, li"), "direction")
    assert aligned == ["rtl", "ltr", "rtl"]
