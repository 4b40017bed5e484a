"""The JavaScript client and topics, in Node, over real sockets that break."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.names import TopicId
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.javascript.node_script import node_script

pytestmark = pytest.mark.node

CLIENT = "const client = new Client(url, { patienceS: 20 });\n"


async def test_what_is_published_arrives_as_it_was(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const name = "a/b c?ü";
    const subscription = await client.subscribe(name);
    const values = ["grüße\\nzwei", new Uint8Array([0, 255]), { a: [1, null] }, 3, null];
    for (const value of values) tell(await client.publish(name, value));
    for (const value of values) {
      const event = await subscription.recv(60);
      const isSame = event.value instanceof Uint8Array ? String(event.value) === String(value) : null;
      tell([event.type, event.position, event.epoch, event.publishedAt, isSame ?? event.value]);
    }
    tell([subscription.cursor, (await client.topics()).map((topic) => [topic.name, topic.end, topic.rate])]);
    subscription.close();
    tell(await failure(subscription.recv()));
    """
    values = ["grüße\nzwei", b"\x00\xff", {"a": [1, None]}, 3, None]
    async with node_script(tmp_path, server, CLIENT + source) as script:
        published = [await script.told() for _ in values]
        events = [await script.told() for _ in values]
        cursor, topics = await script.told()
        closed = await script.told()
    assert published == [{"position": position, "numSubscribers": 1} for position in range(5)]
    shown = [True if isinstance(value, bytes) else value for value in values]
    assert events == [["message", position, "e1", 1.5, value] for position, value in enumerate(shown)]
    assert [message.value for message in cluster.topics.messages[TopicId("a/b c?ü")]] == values
    assert (cursor, topics) == ("e1:4", [["a/b c?ü", 5, 0.5]])
    assert closed["code"] == "closed"


@pytest.mark.parametrize("name", ["public/..", "a/./b", "..a", "%2F", "a//b", "#?&"])
async def test_a_topic_has_exactly_the_name_that_it_is_given(
    server: str, cluster: FakeCluster, tmp_path: Path, name: str
) -> None:
    source = f"""
    await client.publish({name!r}, "x");
    const subscription = await client.subscribe({name!r});
    tell((await subscription.recv(60)).value);
    subscription.close();
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == "x"
    assert [topic.name for topic in cluster.topics.messages] == [name]


async def test_connections_that_break_at_any_byte_lose_and_repeat_nothing(
    server: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    source = """
    const positions = [];
    for await (const event of await client.subscribe("news")) {
      positions.push(event.position);
      if (event.position === 49) break;
    }
    tell(positions);
    await client.close();
    """
    for index in range(50):
        await cluster.topics.publish(TopicId("news"), f"message {index}")
    async with proxying(server) as (url, proxy):
        proxy.limits = [700, 1200, 333, 901, 2000, 1, 450, 1111, 640, 800]
        async with node_script(tmp_path, url, CLIENT + source, client_url=server) as script:
            assert await script.told() == list(range(50))
    assert proxy.num_cut == 10


async def test_without_replay_nothing_is_missed_from_the_subscription_on(server: str, tmp_path: Path) -> None:
    source = """
    await client.publish("news", "old");
    const subscription = await client.subscribe("news", { replay: false });
    await client.publish("news", "new");
    tell((await subscription.recv(60)).value);
    subscription.close();
    const later = await client.subscribe("news", { after: "e1:0" });
    tell((await later.recv(60)).value);
    later.close();
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert [await script.told(), await script.told()] == ["new", "new"]


async def test_what_is_missing_is_told(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    const subscription = await client.subscribe("news", { after: "e1:-1" });
    tell(await subscription.recv(60));
    tell((await subscription.recv(60)).position);
    tell(await subscription.recv(60));
    subscription.close();
    """
    for index in range(3):
        await cluster.topics.publish(TopicId("news"), index)
    cluster.topics.first = 2
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == {"type": "lagged", "position": 1, "epoch": "e1", "missed": 2}
        assert await script.told() == 2
        await cluster.topics.begin_anew()
        assert await script.told() == {"type": "new_epoch", "position": -1, "epoch": "e1+"}


async def test_a_topic_that_is_refused_says_why(server: str, tmp_path: Path) -> None:
    source = """
    tell(await failure(client.subscribe("a\\nb")));
    tell(await failure(client.publish("a".repeat(257), "x")));
    tell(await failure(client.publish("..", "x")));
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        told = [await script.told() for _ in range(3)]
    assert [error["code"] for error in told] == ["invalid_request", "invalid_request", "invalid_request"]
    assert "256 characters" in told[1]["message"]


async def test_a_topic_that_is_deleted_ends_for_those_who_read_it(server: str, tmp_path: Path) -> None:
    source = """
    await client.publish("news", "old");
    const subscription = await client.subscribe("news");
    tell((await subscription.recv(60)).value);
    const next = failure(subscription.recv(60));
    await client.deleteTopic("news");
    tell(await next);
    tell(await failure(client.deleteTopic("news")));
    tell((await client.topics()).length);
    """
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == "old"
        assert [(await script.told())["code"] for _ in range(2)] == ["topic_not_found", "topic_not_found"]
        assert await script.told() == 0


async def test_queues_are_listed_and_deleted(server: str, cluster: FakeCluster, tmp_path: Path) -> None:
    source = """
    tell(await client.queues());
    await client.deleteQueue("a/./b");
    tell(await client.queues());
    tell(await failure(client.deleteQueue("a/./b")));
    """
    for value in ("x", "y", "z"):
        await cluster.topics.push(TopicId("a/./b"), value)
    await cluster.topics.pull(TopicId("a/./b"))
    async with node_script(tmp_path, server, CLIENT + source) as script:
        assert await script.told() == [
            {"name": "a/./b", "num_ready": 2, "num_held": 1, "num_waiting": 0, "is_durable": False}
        ]
        assert await script.told() == []
        assert (await script.told())["code"] == "queue_not_found"
