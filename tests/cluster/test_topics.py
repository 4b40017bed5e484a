"""The promises of topics over real Ray: many processes, HTTP, and a broker that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from typing import Any

import httpx
import pytest
import ray

from actors.cluster.greenroom import BROKER, Greenroom
from actors.settings import NAMESPACE
from api.client import Client
from api.errors import InvalidRequest
from api.names import TopicId
from api.topics import NewEpoch, TopicMessage
from api.values import Value
from deployments.config import GreenroomConfig
from tests.cluster.deployed import Deployed
from tests.cluster.topic_reader import Reader

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_ten_subscribers_in_three_processes_get_a_thousand_messages_each_in_order(deployed: Deployed) -> None:
    topic = TopicId("public/tens")
    readers = [ray.remote(Reader).options(num_cpus=0).remote() for _ in range(2)]
    asked = [reader.read.remote(topic, 4, 1000) for reader in readers]

    async def scenario(greenroom: Greenroom) -> list[list[Value]]:
        own = [await greenroom.broker.subscribe(topic) for _ in range(2)]
        for begin in range(0, 1000, 50):
            await asyncio.gather(*(greenroom.broker.publish(topic, index) for index in range(begin, begin + 50)))
        return [[await value_of(subscription) for _ in range(1000)] for subscription in own]

    everybody = deployed.run(scenario)
    for values in ray.get(asked, timeout=60):
        everybody += values
    assert everybody == [list(range(1000))] * 10
    for reader in readers:
        ray.kill(reader)


async def value_of(subscription: Any) -> Value:
    """The next message's; anything else fails."""
    event = await subscription.recv(60)
    assert isinstance(event, TopicMessage), event
    return event.value


def test_the_subscriptions_of_a_closed_scope_and_of_a_killed_process_end(deployed: Deployed) -> None:
    topic = TopicId("public/leaving")

    async def num_subscribers(greenroom: Greenroom) -> int:
        return (await greenroom.broker.publish(topic, "x")).num_subscribers

    async def open_and_close(greenroom: Greenroom) -> int:
        for _ in range(200):
            async with await greenroom.broker.subscribe(topic):
                pass
        return await num_subscribers(greenroom)

    assert deployed.run(open_and_close) == 0
    reader = ray.remote(Reader).options(num_cpus=0).remote()
    ray.get(reader.read.remote(topic, 3, 1), timeout=60)
    assert deployed.run(num_subscribers) == 3
    ray.kill(reader)
    deployed.wait(lambda: deployed.run(num_subscribers) == 0, 90)


def test_values_of_every_kind_cross_processes_and_http(deployed: Deployed) -> None:
    values: list[Value] = ["grüße", b"\x00\xff", {"a": [1, None]}, "x" * (1 << 20)]

    async def scenario(greenroom: Greenroom) -> tuple[list[Value], list[Value]]:
        async with (
            Client(deployed.url) as client,
            await client.subscribe("public/kinds") as over_http,
            await greenroom.broker.subscribe(TopicId("public/kinds")) as over_ray,
        ):
            for index, value in enumerate(values):
                assert (await client.publish("public/kinds", value)).position == index
            by_http = [await value_of(over_http) for _ in values]
            return by_http, [await value_of(over_ray) for _ in values]

    assert deployed.run(scenario) == (values, values)


def test_a_stream_of_events_comes_back_where_it_was(deployed: Deployed) -> None:
    for index in range(5):
        httpx.post(f"{deployed.url}/api/topics/public/sse", json=index)
    url, last_id, positions = f"{deployed.url}/api/topics/public/sse/events", "", []
    for _ in range(5):
        headers = {"Last-Event-ID": last_id} if last_id else {}
        with httpx.stream("GET", url, headers=headers, timeout=30) as response:
            lines = (line for line in response.iter_lines() if line.startswith(("id: ", "data: ")))
            for line in lines:
                if line.startswith("id: "):
                    last_id = line.removeprefix("id: ")
                else:
                    positions.append(json.loads(line.removeprefix("data: "))["position"])
                    break
    assert positions == [0, 1, 2, 3, 4]


def test_a_brokers_death_is_a_new_epoch_for_topics_that_are_not_durable(deployed: Deployed) -> None:
    topic = TopicId("public/mortal")

    async def scenario(greenroom: Greenroom) -> None:
        async with await greenroom.broker.subscribe(topic) as subscription:
            await greenroom.broker.publish(topic, "a")
            assert await value_of(subscription) == "a"
            deployed.kill("broker")
            assert (await greenroom.broker.publish(topic, "b")).position == 0
            assert isinstance(await subscription.recv(60), NewEpoch)
            assert await value_of(subscription) == "b"

    deployed.run(scenario)


@pytest.mark.parametrize("num_kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_broker_killed_under_load_loses_repeats_and_reorders_nothing_of_a_durable_topic(
    deployed: Deployed, num_kills: int
) -> None:
    topic, num_messages = TopicId(f"durable/load {num_kills}"), 300 * num_kills
    reader = ray.remote(Reader).options(num_cpus=0).remote()
    elsewhere = reader.read.remote(topic, 2, num_messages)
    published = threading.Semaphore(0)

    def kill() -> None:
        for _ in range(num_kills):
            for _ in range(num_messages // (num_kills + 1)):
                published.acquire()
            deployed.kill("broker")

    async def scenario(greenroom: Greenroom) -> list[Value]:
        broker = greenroom.broker

        async def publish() -> None:
            for index in range(num_messages):
                await broker.publish(topic, index)
                published.release()

        async with await broker.subscribe(topic) as subscription, asyncio.TaskGroup() as tasks:
            tasks.create_task(publish())
            return [await value_of(subscription) for _ in range(num_messages)]

    killing = threading.Thread(target=kill)
    killing.start()
    values = deployed.run(scenario)
    killing.join()
    assert values == list(range(num_messages))
    assert ray.get(elsewhere, timeout=120) == [list(range(num_messages))] * 2
    ray.kill(reader)


def test_each_item_of_a_durable_queue_is_done_once_over_the_death_of_broker_and_consumer(deployed: Deployed) -> None:
    queue = TopicId("durable/work")
    holder = ray.remote(Reader).options(num_cpus=0).remote()

    async def scenario(greenroom: Greenroom) -> list[Value]:
        broker = greenroom.broker
        await asyncio.gather(*(broker.push(queue, index) for index in range(50)))
        held = await asyncio.to_thread(lambda: ray.get(holder.pull.remote(queue), timeout=60))
        assert held == 0
        os.kill(ray.get(holder.pid.remote()), signal.SIGKILL)
        done = []
        for index in range(50):
            if index in (10, 30):
                deployed.kill("broker")
            item = await broker.pull(queue, timeout_s=90)
            assert await broker.ack(item)
            done.append(item.value)
        with pytest.raises(TimeoutError):
            await broker.pull(queue, timeout_s=0)
        return done

    done = deployed.run(scenario)
    assert sorted(done, key=int) == list(range(50))  # type: ignore[arg-type]
    assert done[:49] == list(range(1, 50)), "what a dead consumer had comes back when it has been silent"


def test_the_broker_is_one_named_actor(deployed: Deployed) -> None:
    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    assert names.count("broker") == 1
    assert ray.get_actor("broker", namespace=NAMESPACE) is not None


def test_the_number_of_shards_stays_while_inferlets_may_hold_them(deployed: Deployed) -> None:
    config = GreenroomConfig.model_validate({**deployed.fields, "broker": {"num_shards": 3}})
    with pytest.raises(InvalidRequest, match="num_shards is 1 in the Greenroom that runs.*greenroom down"):
        asyncio.run(Greenroom.ensure(config.settings()))
    names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
    assert [name for name in names if name.startswith(BROKER)] == [BROKER]
