from __future__ import annotations

import re

import httpx
import pytest

import api.http.pages
from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster

PAGES = api.http.pages.PAGES


def http_client() -> httpx.AsyncClient:
    app = build_app(FakeCluster(), ApiSettings())
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize("path", ["/", "/agents", "/inferlets"])
async def test_a_page_allows_nothing_but_its_own_files(path: str) -> None:
    async with http_client() as http:
        response = await http.get(path)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", response.text)


async def test_every_file_that_the_pages_name_is_served() -> None:
    async with http_client() as http:
        texts = [(await http.get(path)).text for path in ("/", "/agents", "/inferlets")]
        named = {name for text in texts for name in re.findall(r'(?:href|src)="(pages/[^"#]+)', text)} | {
            "agents",
            "inferlets",
        }
        for script in PAGES.glob("*.js"):
            named |= {f"pages/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())}
        assert len(named) >= 10
        for name in named:
            assert (await http.get(f"/{name}")).status_code == 200, name


def test_nothing_comes_from_elsewhere() -> None:
    for path in PAGES.rglob("*.*"):
        addresses = set(re.findall(r"https?://[\w.]+", path.read_text())) - {"http://www.w3.org", "http://127.0.0.1"}
        assert not addresses, path.name


async def test_every_icon_that_is_named_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="icon-(\w+)"', (PAGES / "icons.svg").read_text()))
    texts = [path.read_text() for path in PAGES.glob("*.*")]
    named = {name for text in texts for name in re.findall(r'icons\.svg#icon-(\w+)|\b(?:icon|tool)\("(\w+)"', text)}
    assert {plain or called for plain, called in named} <= drawn


async def test_the_client_is_one_module_of_its_own_that_the_pages_of_the_server_load() -> None:
    async with http_client() as http:
        response = await http.get("/client.js", headers={"Origin": str(http.base_url)})
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "\nimport " not in response.text
    assert re.findall(r"^export .*", response.text, re.MULTILINE) == [
        "export class Client {",
        "export { ChatHistory, GreenroomError, RunFailed, resultOf };",
    ]
    top = re.findall(r"^(?:const|function|async function\*?|class|export class) (\w+)", response.text, re.MULTILINE)
    assert len(top) > 30
    assert len(top) == len(set(top))


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async with http_client() as http:
        first = await http.get("/pages/chat.css")
        tag = first.headers["etag"]
        again = await http.get("/pages/chat.css", headers={"If-None-Match": f'"other", W/{tag}'})
        other = await http.get("/pages/chat.css", headers={"If-None-Match": '"other"'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (other.status_code, other.content) == (200, first.content)
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/pages/", "/pages/nope.js", "/pages/../page.py", "/pages/%2e%2e%2fpage.py", "/nope"])
async def test_nothing_else_is_served(path: str) -> None:
    async with http_client() as http:
        assert (await http.get(path)).status_code == 404


async def test_only_get_and_head_are_answered() -> None:
    async with http_client() as http:
        assert (await http.post("/")).status_code == 405
        head = await http.head("/")
    assert (head.status_code, head.content) == (200, b"")
