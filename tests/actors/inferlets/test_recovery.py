"""An inferlet whose process dies at any of its calls: what its client sees equals the undisturbed run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.executor import EffectDesk
from actors.inferlets.ref import InferletRef
from api.inferlet_events import Completed, Event, Message
from tests.actors.inferlets.programs import launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

PROGRAM = """
@inferlet
async def main(args: Args) -> str:
    model = get_auto_model()
    context = model.create_context()
    context.fill_system("S")
    send(f"Hello {random()} {now()}")
    for _ in range(2):
        message = await recv()
        context.fill_user(message)
        send(await context.generate(Sampler.multinomial(1.0), max_len(5)))
        print("answered", message)
    async for piece in context.fork().generate(stop=max_len(4)):
        send(piece)
    branches = [context.fork() for _ in range(3)]
    for number, branch in enumerate(branches):
        branch.fill(f"branch {number}")
    texts = await asyncio.gather(*(branch.generate(stop=max_len(2 + number)) for number, branch in enumerate(branches)))
    send(list(texts))
    await store_put("key", "value")
    send([await store_get("key"), await store_list()])
    return context.text
"""


BUSY = """
async def tick(count: int) -> None:
    for number in range(count):
        await asyncio.sleep(0.004)
        send(f"tick {number}")

@inferlet
async def main(args: Args) -> list:
    send("begin")
    mine = instance_id()
    ticking = asyncio.create_task(tick(3))
    for _ in range(2):
        try:
            async with asyncio.timeout(0.003):
                await subscribe(f"nothing {mine}")
        except TimeoutError:
            send("nothing came")
    for number in range(3):
        broadcast([number], f"topic {mine}")
        push(number, f"queue {mine}")
    heard = [await subscribe(f"topic {mine}") for _ in range(3)]
    await ticking
    both = await asyncio.gather(recv(), recv())
    context = get_auto_model().create_context()
    context.fill("abc")
    candidates = await context.next_distribution(2)
    context.step(candidates.ids[0])
    context.rollback(2)
    send([heard, both, await context.generate(stop=max_len(2))])
    return heard
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, topics=broker.ref(), pool_size=0) as cluster:
            cluster.engines[0].step_s = 0.0
            yield cluster


class Executioner:
    """Kills the inferlet when it has been asked to do this many things, once."""

    def __init__(self, cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.num_calls = 0
        self.is_done = False
        self._cluster = cluster
        self._at = at
        real = EffectDesk._add

        def add(desk: EffectDesk, record: object) -> None:
            self.num_calls += 1
            if self.num_calls == self._at and not self.is_done:
                self.is_done = True
                cluster.kill_inferlet(desk._id)
                return
            real(desk, record)  # type: ignore[arg-type]

        monkeypatch.setattr(EffectDesk, "_add", add)


async def conversation(instance: InferletRef) -> list[Event]:
    async with asyncio.timeout(20):
        await instance.send("one", "key of one")
        await instance.send("two", "key of two")
        return [event async for event in instance.events()]


def shown(events: list[Event]) -> list[object]:
    """The messages, but for the greeting with the time in it; the result."""
    assert isinstance(events[-1], Completed), events[-1]
    messages = [event.value for event in events if isinstance(event, Message)]
    return [*messages[1:], events[-1].value]


async def test_a_death_at_any_call_changes_nothing_that_the_client_sees(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patches:
        undisturbed = Executioner(cluster, patches, 0)
        expected = await conversation(await launched(cluster, PROGRAM))
    assert undisturbed.num_calls > 20
    for at in range(1, undisturbed.num_calls + 1):
        await cluster.journal.delete_item("store/", "key")
        with monkeypatch.context() as patches:
            executioner = Executioner(cluster, patches, at)
            events = await conversation(await launched(cluster, PROGRAM))
        assert executioner.is_done or at > undisturbed.num_calls - 3, "how often output is recorded depends on time"
        assert [event.position for event in events] == list(range(len(events))), at
        assert shown(events) == shown(expected), at


async def test_a_death_at_any_call_of_a_program_of_timers_topics_and_queues_changes_nothing(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks come when they come; all else in its order, and each thing once."""
    with monkeypatch.context() as patches:
        undisturbed = Executioner(cluster, patches, 0)
        expected = await conversation(await launched(cluster, BUSY))
    for at in range(1, undisturbed.num_calls + 1):
        with monkeypatch.context() as patches:
            Executioner(cluster, patches, at)
            events = await conversation(await launched(cluster, BUSY))
        assert [event.position for event in events] == list(range(len(events))), at
        for ticks in (True, False):
            assert busy(events, ticks) == busy(expected, ticks), at
    assert cluster.topics is not None
    assert {queue.num_ready for queue in await cluster.topics.queues("")} == {3}
    assert {topic.end for topic in await cluster.topics.topics("") if topic.end} == {3}


def busy(events: list[Event], ticks: bool) -> list[object]:
    """The ticks, or all the others."""
    assert isinstance(events[-1], Completed), events[-1]
    values = [event.value for event in events if isinstance(event, Message)]
    return [value for value in values if str(value).startswith("tick") == ticks]
