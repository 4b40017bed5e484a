"""``greenroom pub``, ``sub``, ``topics`` and ``queues`` against a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from typer.testing import CliRunner, Result

from api.errors import InvalidRequest, QueueNotFound, TopicNotFound
from api.http.app import build_app
from api.names import TopicId
from api.settings import ApiSettings
from deployments.cli import app
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def url(cluster: FakeCluster) -> AsyncIterator[str]:
    async with serving(build_app(cluster, ApiSettings())) as url:
        yield url


async def run(*arguments: str, text: str = "") -> Result:
    """The command, in a thread of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=text)


async def test_what_is_published_is_printed_a_line_each(url: str) -> None:
    said = await run("pub", "news", "grüße", "--url", url)
    assert (said.exit_code, said.stderr) == (0, "position 0, 0 subscribers\n")
    assert (await run("pub", "news", "--json", '{"a": [1, "ü"]}', "--url", url)).exit_code == 0
    assert (await run("pub", "news", "-", "--url", url, text="from stdin")).exit_code == 0
    read = await run("sub", "news", "--count", "3", "--url", url)
    assert read.stdout == 'grüße\n{"a": [1, "ü"]}\nfrom stdin\n'
    assert (await run("sub", "news", "--after", "e1:1", "--count", "1", "--url", url)).stdout == "from stdin\n"


async def test_what_is_missing_is_said_on_stderr(url: str, cluster: FakeCluster) -> None:
    for index in range(3):
        await cluster.topics.publish(TopicId("news"), index)
    cluster.topics.first = 2
    read = await run("sub", "news", "--after", "e0:5", "--count", "1", "--url", url)
    assert read.stdout == "2\n"
    assert read.stderr.splitlines() == [
        "the topic has begun anew; messages may be missing",
        "2 messages are no longer retained",
    ]


async def test_topics_are_listed_and_deleted(url: str) -> None:
    assert (await run("topics", "list", "--url", url)).stdout == "There are no topics.\n"
    await run("pub", "news", "x", "--url", url)
    assert "news" in (await run("topics", "list", "--url", url)).stdout
    [listed] = json.loads((await run("topics", "list", "--json", "--url", url)).stdout)
    assert (listed["name"], listed["end"], listed["is_durable"]) == ("news", 1, False)
    assert (await run("topics", "delete", "news", "--url", url)).stdout == "Topic news is deleted.\n"
    again = await run("topics", "delete", "news", "--url", url)
    assert isinstance(again.exception, TopicNotFound)


async def test_queues_are_listed_and_deleted(url: str, cluster: FakeCluster) -> None:
    assert (await run("queues", "list", "--url", url)).stdout == "There are no queues.\n"
    for value in ("x", "y", "z"):
        await cluster.topics.push(TopicId("[/work]"), value)
    await cluster.topics.pull(TopicId("[/work]"))
    [_, row] = (await run("queues", "list", "--url", url)).stdout.splitlines()
    assert row.split() == ["[/work]", "2", "1", "0", "no"]
    [listed] = json.loads((await run("queues", "list", "--json", "--url", url)).stdout)
    assert (listed["name"], listed["num_ready"], listed["num_held"]) == ("[/work]", 2, 1)
    assert (await run("queues", "delete", "[/work]", "--url", url)).stdout == "Queue [/work] is deleted.\n"
    assert isinstance((await run("queues", "delete", "[/work]", "--url", url)).exception, QueueNotFound)


@pytest.mark.parametrize("command", [("topics", "list"), ("queues", "list"), ("ps",)])
async def test_a_listing_of_nothing_is_an_empty_list(url: str, command: tuple[str, ...]) -> None:
    assert json.loads((await run(*command, "--json", "--url", url)).stdout) == []


@pytest.mark.parametrize("value", ["NaN", "[" * 500 + "]" * 500])
async def test_a_value_that_no_message_can_be_is_refused(url: str, value: str) -> None:
    said = await run("pub", "news", "--json", value, "--url", url)
    assert isinstance(said.exception, InvalidRequest)


async def test_a_message_that_is_not_json_is_a_wrong_use(url: str) -> None:
    said = await run("pub", "news", "--json", "{", "--url", url)
    assert said.exit_code == 2
    assert "not JSON" in said.stderr
