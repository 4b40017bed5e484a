"""Queues over HTTP, and by the Python client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.client import Client
from api.errors import InvalidRequest, QueueNotFound
from api.http.app import build_app
from api.names import TopicId
from api.queues import QueueInfo
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.http.test_topics import KEYS
from tests.api.live_server import serving


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def url(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings())) as url:
        yield url


async def test_queues_are_listed_and_deleted(url: str, cluster: FakeCluster) -> None:
    names = ("a/b c?ü", "a/./b", "work")
    for name in names:
        for value in ("x", "y", "z"):
            await cluster.topics.push(TopicId(name), value)
        await cluster.topics.pull(TopicId(name))
    async with Client(url) as client:
        assert await client.queues() == tuple(QueueInfo(TopicId(name), 2, 1, 0, False) for name in sorted(names))
        for name in names:
            await client.delete_queue(name)
        assert await client.queues() == ()
        with pytest.raises(QueueNotFound) as found:
            await client.delete_queue("work")
        assert found.value.name == "work"
        with pytest.raises(InvalidRequest, match="control characters"):
            await client.delete_queue("a\nb")


async def test_a_queue_is_its_owners_and_a_public_one_is_deleted_by_nobody(cluster: FakeCluster) -> None:
    ada, bob = ({"Authorization": f"Bearer key-of-{name}"} for name in ("ada", "bob"))
    async with serving(build_app(cluster, KEYS)) as url, httpx.AsyncClient(base_url=url) as http:
        for name in ("work", "public/work"):
            await cluster.topics.push(TopicId(name, "ada"), "x")
        answers = [await http.get("/api/queues", headers=headers) for headers in (ada, bob)]
        listed = [answer.json()["queues"] for answer in answers]
        assert [[queue["name"] for queue in queues] for queues in listed] == [["public/work", "work"], ["public/work"]]
        assert (await http.delete("/api/queues/work", headers=bob)).status_code == 404
        assert (await http.delete("/api/queues/public/work", headers=ada)).status_code == 403
        assert (await http.delete("/api/queues/work", headers=ada)).status_code == 204
        assert (await http.get("/api/queues")).status_code == 401


@pytest.mark.parametrize(("method", "path"), [("POST", "topics"), ("DELETE", "topics"), ("DELETE", "queues")])
@pytest.mark.parametrize("name", ["a%0Ab", "%00", "a" * 257, ""])
async def test_a_name_that_is_not_allowed_is_told_so(url: str, method: str, path: str, name: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.request(method, f"/api/{path}/{name}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert "a topic's name has" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 257, "..", "\ud800"])
async def test_the_client_refuses_such_a_name_itself(url: str, name: str) -> None:
    async with Client(url) as client:
        for call in (client.publish(name, "x"), client.delete_topic(name), client.delete_queue(name)):
            with pytest.raises(InvalidRequest):
                await call


async def test_text_that_is_no_unicode_cannot_be_published_over_http(url: str) -> None:
    async with Client(url) as client:
        with pytest.raises(InvalidRequest, match="lone surrogates"):
            await client.publish("news", "\ud800")
        with pytest.raises(InvalidRequest, match="text, bytes or a JSON value"):
            await client.publish("news", float("nan"))
        assert (await client.publish("news", bytearray(b"ab"))).position == 0  # type: ignore[arg-type]
