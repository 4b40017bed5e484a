"""Topics over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.errors import TooBusy, Unavailable
from api.http import topic_routes
from api.http.app import build_app
from api.names import TopicId
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving

KEYS = ApiSettings(api_keys=(ApiKey.of("key-of-ada", "ada"), ApiKey.of("key-of-bob", "bob")))


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def http(cluster: FakeCluster) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(build_app(cluster, ApiSettings())) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def blocks(http: httpx.AsyncClient, path: str, count: int, **options: Any) -> list[dict[str, str]]:
    """The next blocks of a stream, each with its fields; comments under ""."""
    found: list[dict[str, str]] = []
    async with http.stream("GET", path, **options) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        block: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
            else:
                found.append(block)
                block = {}
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("text/plain; charset=utf-8", "grüße".encode(), "grüße"),
        ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
        ("application/ld+json", b"3", 3),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        ("application/x-www-form-urlencoded", b"as curl sends", "as curl sends"),
        ("", b"no type", b"no type"),
    ],
)
async def test_a_body_is_text_json_or_bytes_by_its_content_type(
    http: httpx.AsyncClient, cluster: FakeCluster, content_type: str, body: bytes, value: object
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await http.post("/api/topics/news", content=body, headers=headers)
    assert response.json() == {"position": 0, "num_subscribers": 0}
    assert cluster.topics.messages[TopicId("news")][0].value == value


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/api/topics/news", {"Content-Type": "application/json"}, b"{"),
        ("/api/topics/news", {"Content-Type": "application/json"}, b"NaN"),
        ("/api/topics/news", {"Content-Type": "text/plain"}, b"\xff"),
        ("/api/topics/" + "a" * 257, {}, b"x"),
        ("/api/topics/a%01b", {}, b"x"),
    ],
)
async def test_what_is_no_message_or_no_topic_is_refused(
    http: httpx.AsyncClient, path: str, headers: dict[str, str], body: bytes
) -> None:
    response = await http.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_message_over_the_limit_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/topics/news", content=b"x" * ((1 << 20) + 1))
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


async def test_a_full_topic_says_when_to_come_back(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    cluster.topics.refusal = TooBusy("topic 'news' is full")
    response = await http.post("/api/topics/news", content=b"x")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")


async def test_events_come_in_order_with_ids_to_come_back_with(http: httpx.AsyncClient) -> None:
    await http.post("/api/topics/a/b c", content=b"1", headers={"Content-Type": "application/json"})
    await http.post("/api/topics/a/b c", content=b"\xff")
    first, *events = await blocks(http, "/api/topics/a/b c/events", 3)
    assert first == {"id": "e1:-1"}
    assert [(event["id"], event["event"]) for event in events] == [("e1:0", "message"), ("e1:1", "message")]
    assert json.loads(events[0]["data"]) == {"position": 0, "epoch": "e1", "published_at": 1.5, "json": 1}
    assert json.loads(events[1]["data"])["bytes"] == "/w=="


async def test_a_reader_that_comes_back_goes_on_behind_its_place(http: httpx.AsyncClient) -> None:
    for value in ("0", "1", "2"):
        await http.post("/api/topics/news", content=value)
    path = "/api/topics/news/events"
    assert (await blocks(http, f"{path}?after=e1:0", 2))[1]["id"] == "e1:1"
    assert (await blocks(http, f"{path}?after=e1:0", 2, headers={"Last-Event-ID": "e1:1"}))[1]["id"] == "e1:2"
    assert (await http.get(f"{path}?after=x")).status_code == 400


async def test_without_replay_the_next_message_is_the_first(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await http.post("/api/topics/news", content=b"old")
    reading = asyncio.create_task(blocks(http, "/api/topics/news/events?replay=false", 2))
    async with cluster.topics.changed:
        await cluster.topics.changed.wait_for(lambda: cluster.topics.num_subscribers)
    await http.post("/api/topics/news", content=b"new")
    assert (await reading)[1]["id"] == "e1:1"
    assert (await http.get("/api/topics/news/events?replay=maybe")).status_code == 400


async def test_what_is_missing_is_said(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    for value in ("0", "1", "2"):
        await http.post("/api/topics/news", content=value)
    cluster.topics.first = 2
    _, lagged, _ = await blocks(http, "/api/topics/news/events?after=e1:-1", 3)
    assert (lagged["event"], lagged["id"], json.loads(lagged["data"])["missed"]) == ("lagged", "e1:1", 2)
    _, anew, _ = await blocks(http, "/api/topics/news/events?after=e0:7", 3)
    assert (anew["event"], anew["id"]) == ("new_epoch", "e1:-1")


async def test_leaving_the_stream_ends_the_subscription(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    await blocks(http, "/api/topics/news/events", 1)
    async with asyncio.timeout(30), cluster.topics.changed:
        await cluster.topics.changed.wait_for(lambda: cluster.topics.num_subscribers == 0)


async def test_a_quiet_stream_says_that_it_is_still_there(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_routes, "KEEP_ALIVE_S", 0.01)
    assert [list(block) for block in await blocks(http, "/api/topics/news/events", 3)] == [["id"], [""], [""]]


async def test_a_broker_that_goes_away_ends_the_stream_with_its_error(
    http: httpx.AsyncClient, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe = cluster.topics.subscribe

    async def failing(*arguments: Any, **options: Any) -> Any:
        subscription = await subscribe(*arguments, **options)

        async def recv(timeout_s: float | None = None) -> None:
            raise Unavailable("the broker cannot be reached")

        monkeypatch.setattr(subscription, "recv", recv)
        return subscription

    monkeypatch.setattr(cluster.topics, "subscribe", failing)
    _, error = await blocks(http, "/api/topics/news/events", 2)
    assert error["event"] == "error"
    assert json.loads(error["data"])["code"] == "unavailable"


async def test_topics_are_listed_with_their_readers_and_rate(http: httpx.AsyncClient) -> None:
    await http.post("/api/topics/news", content=b"x")
    assert (await http.get("/api/topics")).json()["topics"] == [
        {
            "name": "news",
            "epoch": "e1",
            "first": 0,
            "end": 1,
            "num_subscribers": 0,
            "rate": 0.5,
            "is_durable": False,
        }
    ]


async def test_each_key_has_its_own_topics_and_public_ones_are_everybodys(cluster: FakeCluster) -> None:
    async with serving(build_app(cluster, KEYS)) as url, httpx.AsyncClient(base_url=url) as http:
        ada, bob = ({"Authorization": f"Bearer key-of-{name}"} for name in ("ada", "bob"))
        await http.post("/api/topics/news", content=b"x", headers=ada)
        await http.post("/api/topics/public/news", content=b"x", headers=ada)
        assert [topic["name"] for topic in (await http.get("/api/topics", headers=bob)).json()["topics"]] == [
            "public/news"
        ]
        assert (await blocks(http, "/api/topics/public/news/events", 2, headers=bob))[1]["id"] == "e1:0"
        for method, path in (("GET", ""), ("POST", "/news"), ("GET", "/news/events")):
            assert (await http.request(method, f"/api/topics{path}")).status_code == 401


async def test_a_deleted_topic_is_gone_and_its_reader_is_told(http: httpx.AsyncClient) -> None:
    await http.post("/api/topics/a/b", content="x")
    reading = asyncio.create_task(blocks(http, "/api/topics/a/b/events", 3))
    while (await http.get("/api/topics")).json()["topics"][0]["num_subscribers"] == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (await http.delete("/api/topics/a/b")).status_code == 204
    [*_, last] = await asyncio.wait_for(reading, 30)
    assert last["event"] == "error"
    assert json.loads(last["data"])["code"] == "topic_not_found"
    again = await http.delete("/api/topics/a/b")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "topic_not_found")


async def test_a_topic_is_deleted_by_its_owner_and_a_public_one_by_nobody(cluster: FakeCluster) -> None:
    ada, bob = ({"Authorization": f"Bearer key-of-{name}"} for name in ("ada", "bob"))
    async with serving(build_app(cluster, KEYS)) as url, httpx.AsyncClient(base_url=url) as http:
        for topic in ("news", "public/news"):
            await http.post(f"/api/topics/{topic}", content="x", headers=ada)
        assert (await http.delete("/api/topics/news", headers=bob)).status_code == 404
        assert (await http.delete("/api/topics/news", headers=ada)).status_code == 204
        assert (await http.delete("/api/topics/public/news", headers=ada)).status_code == 403
    assert [topic.name for topic in cluster.topics.messages] == ["public/news"]
