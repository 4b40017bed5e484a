"""An inferlet whose process dies at any of its calls: what its client sees equals the undisturbed run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlet.desk import EffectDesk
from actors.inferlet_ref import InferletRef
from api.inferlet_events import Completed, Event, Message
from tests.actors.inferlet.programs import launched
from tests.actors.small_cluster import SmallCluster

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


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=0) as cluster:
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
