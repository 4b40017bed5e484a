"""Inferlets that wait give their process back; topics, queues and children over deaths."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.journal.keys import INFERLET
from actors.pool.pool import Slot, SlotPool
from actors.settings import InferletSettings
from api.errors import InferletNotFound
from api.inferlet_events import Completed, Message, Stdout, Terminated
from api.names import TopicId
from api.topics import TopicMessage
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

COUNTER = """
@inferlet
async def main(args: Args) -> list:
    context = get_auto_model().create_context()
    context.fill("start")
    heard = []
    while (message := await recv()) != "exit":
        heard.append(message)
        send([message, await context.generate(stop=max_len(2)), context.length])
    return heard
"""


CHILD = """
from api.inferlet import inferlet, recv, send
@inferlet
async def child(args):
    send(await recv())
    return len(args.argv)
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(
        pool_size=0, passivate_after_s=0.05, linger_s=0.1, keep_ended_s=600, memory_limit_bytes=1 << 40
    )
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, inferlets=settings, topics=broker.ref(), pool_size=0) as cluster:
            yield cluster


async def until_state(cluster: SmallCluster, instance_id: str, *states: str) -> None:
    async with asyncio.timeout(30):
        while True:
            found = {one.instance_id: one.state for one in await cluster.inferlets.inferlets()}
            if found.get(instance_id) in states:
                return
            await asyncio.sleep(0.01)


async def test_one_that_waits_is_put_away_and_goes_on_with_the_next_message(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER)
    for number in range(3):
        await instance.send(number)
        await until_state(cluster, instance.instance_id, "waiting")
        assert not [slot for slot in cluster.slots.values() if slot.target.tenant]
    await instance.send("exit")
    events = await all_events(instance)
    assert [event.value[0] for event in events[:-1] if isinstance(event, Message)] == [0, 1, 2]  # type: ignore[index]
    assert events[-1] == Completed(3, [0, 1, 2])
    assert len(cluster.slots) < 4, "processes are used again"


async def test_one_that_waits_for_a_time_takes_no_process_until_then_whatever_dies_meanwhile(
    cluster: SmallCluster,
) -> None:
    instance = await launched(
        cluster,
        """
        from api.inferlet.effects import Receive, Until
        from api.inferlet.host import host
        @inferlet
        async def main(args: Args) -> list:
            at = now() + 1.0
            alarm = asyncio.ensure_future(host().begin(Until(at)))
            message = asyncio.ensure_future(host().begin(Receive(None)))
            send("waiting")
            await asyncio.wait([alarm, message], return_when=asyncio.FIRST_COMPLETED)
            return [alarm.done(), message.done(), now() >= at]
        """,
    )
    await until_state(cluster, instance.instance_id, "waiting")
    cluster.restart_directory()
    await until_state(cluster, instance.instance_id, "completed")
    end = (await all_events(instance))[-1]
    assert isinstance(end, Completed)
    assert end.value == [True, False, True]


async def test_who_does_not_own_it_does_not_even_wake_it(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER, owner="ann")
    async with asyncio.timeout(30):
        while [one.state for one in await cluster.inferlets.inferlets("ann")] != ["waiting"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for owner in ("", "bob"):
        with pytest.raises(InferletNotFound):
            await cluster.inferlets.inferlet(instance.instance_id, owner)
    assert not [slot for slot in cluster.slots.values() if slot.target.tenant]
    assert (await cluster.inferlets.inferlet(instance.instance_id, "ann")).owner == "ann"


async def test_asking_for_what_is_not_there_leaves_nothing_behind(cluster: SmallCluster) -> None:
    await launched(cluster, COUNTER)
    for number in range(100):
        with pytest.raises(InferletNotFound):
            await cluster.inferlets.inferlet(f"nothing-{number}")
    registry = cluster._directory.target._inferlets
    assert (len(registry.entries), len(registry._locks)) == (1, 0)


async def test_one_that_is_put_away_stays_so_when_the_directory_dies(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER)
    await until_state(cluster, instance.instance_id, "waiting")
    cluster.restart_directory()
    await until_state(cluster, instance.instance_id, "waiting")
    await instance.send("exit")
    assert (await all_events(instance))[-1] == Completed(0, [])


async def test_one_that_works_goes_on_by_itself_when_its_process_dies(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            for number in range(10):
                await asyncio.sleep(0.01)
                await broadcast(number, "topic")
            await store_put("done", True)
        """,
    )
    await asyncio.sleep(0.03)
    cluster.kill_inferlet(instance.instance_id)
    await until_state(cluster, instance.instance_id, "completed")
    assert cluster.topics is not None
    [topic] = await cluster.topics.topics("")
    subscription = await cluster.topics.subscribe(TopicId("topic"))
    events = [await subscription.recv(60) for _ in range(topic.end)]
    assert [event.value for event in events if isinstance(event, TopicMessage)] == list(range(10))


async def test_new_limits_count_for_those_that_are_launched_or_taken_up_from_then_on(cluster: SmallCluster) -> None:
    source = """
        @inferlet
        async def main(args: Args) -> None:
            while (message := await recv()) != "exit":
                print("x" * message)
        """
    early = await launched(cluster, source)
    await until_state(cluster, early.instance_id, "waiting")
    strict = replace(cluster.settings.inferlets, max_output_chars=10)
    await cluster.directory.configure(replace(cluster.settings, inferlets=strict))
    for instance in (early, await launched(cluster, source)):
        for message in (100, "exit"):
            await instance.send(message)
        assert sum(len(event.text) for event in await all_events(instance) if isinstance(event, Stdout)) == 10


async def test_a_process_that_was_taken_for_dead_cannot_put_its_inferlet_away(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> str:
            send("here")
            await asyncio.sleep(0.1)
            return "done"
        """,
    )
    await instance.read(-1, 10.0)
    [old] = cluster.slots
    real = SlotPool.assign

    async def assign(pool: SlotPool, slot: Slot, tenant_id: str, seed: Any, settings: Any) -> str:
        await cluster.directory.released(INFERLET, tenant_id, old)
        return await real(pool, slot, tenant_id, seed, settings)

    monkeypatch.setattr(SlotPool, "assign", assign)
    cluster.kill_inferlet(instance.instance_id)
    await until_state(cluster, instance.instance_id, "completed")
    assert await all_events(instance) == [Message(0, "here"), Completed(1, "done")]


async def test_the_events_of_an_ended_one_are_kept_for_a_while_and_then_gone(cluster: SmallCluster) -> None:
    brief = replace(cluster.settings.inferlets, keep_ended_s=3.0)
    await cluster.directory.configure(replace(cluster.settings, inferlets=brief))
    instance = await launched(cluster, COUNTER)
    await instance.terminate()
    await until_state(cluster, instance.instance_id, "terminated")
    assert await all_events(instance) == [Terminated(0)]
    async with asyncio.timeout(30):
        while await cluster.inferlets.inferlets():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await cluster.journal.list_items("inferlet-state") == ()


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_or_repeated_when_who_publishes_or_subscribes_dies(
    cluster: SmallCluster, seed: int
) -> None:
    publisher = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            for number in range(20):
                await broadcast(number, "topic")
                await push(number, "queue")
        """,
    )
    subscriber = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> list:
            heard = []
            async for message in subscribe("topic"):
                heard.append(message)
                if len(heard) == 20:
                    return heard
        """,
    )
    worker = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> list:
            done = []
            while len(done) < 20:
                item = await pull("queue")
                assert await item.ack()
                done.append(item.value)
            return done
        """,
    )
    chance = random.Random(seed)
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0, 0.02))
        cluster.kill_inferlet(chance.choice([publisher, subscriber]).instance_id)
    found = await asyncio.gather(*map(all_events, (publisher, subscriber, worker)))  # what has ended is soon forgotten
    assert [events[-1] for events in found[1:]] == [Completed(0, list(range(20)))] * 2


@pytest.mark.parametrize("seed", range(4))
async def test_a_parent_that_dies_has_each_child_once(cluster: SmallCluster, seed: int) -> None:
    program = await cluster.inferlets.upload_program(CHILD, "child.py", "")
    parent = await launched(
        cluster,
        f"""
        @inferlet
        async def main(args: Args) -> list:
            children = [await launch("{program}", ["x"] * number) for number in range(3)]
            for number, child in enumerate(children):
                await child.send(f"to {{number}}")
            heard = [await child.recv() for child in children]
            send(heard)
            return [await child.result() for child in children]
        """,
    )
    chance = random.Random(seed)
    for _ in range(2):
        await asyncio.sleep(chance.uniform(0, 0.05))
        cluster.kill_inferlet(parent.instance_id)
    events: list[Any] = await all_events(parent)
    assert events == [Message(0, ["to 0", "to 1", "to 2"]), Completed(1, [0, 1, 2])]
    assert len(await cluster.inferlets.inferlets()) <= 4
