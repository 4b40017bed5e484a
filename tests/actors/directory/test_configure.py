"""Settings that change while sessions and inferlets run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.inferlets.instance import Instance
from actors.inferlets.ref import InferletRef
from actors.settings import InferletSettings, JournalSettings, ModelSettings
from api.cluster import SessionOptions
from api.errors import InvalidRequest, TooBusy
from api.inferlet_events import Completed, Failed, Message, Stdout
from api.turns import Stop, Tokens, TurnRequest
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster

UNBOUNDED = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, inferlets=UNBOUNDED, pool_size=0, max_queued_turns=2) as cluster:
        yield cluster


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def tenant(cluster: SmallCluster, id: str) -> Any:
    """The session or the inferlet of this id, where it runs."""
    [found] = [held for slot in cluster.slots.values() if (held := slot.target.tenant) and held.id == id]
    return found


async def configure(cluster: SmallCluster, **changes: Any) -> None:
    """Change fields of the settings; ``sessions`` and ``inferlets`` are fields of theirs."""
    settings = await cluster.directory.settings()
    for kind in ("sessions", "inferlets"):
        if kind in changes:
            changes[kind] = replace(getattr(settings, kind), **changes[kind])
    await cluster.greenroom.configure(replace(settings, **changes))


def a_turn(name: str) -> TurnRequest:
    return TurnRequest(name, (Tokens((1,)),), stop=Stop(max_tokens=3))


async def test_a_session_that_runs_takes_as_many_turns_as_the_latest_settings_say(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    running_turn = await session.begin(a_turn("a"))
    for name in ("b", "c"):
        await session.enqueue(a_turn(name))
    with pytest.raises(TooBusy, match="2 turns"):
        await session.enqueue(a_turn("d"))
    await configure(cluster, sessions={"max_queued_turns": 3})
    running = tenant(cluster, session.session_id)
    await until(lambda: running._parts.settings.max_queued_turns == 3)
    await session.enqueue(a_turn("d"))
    with pytest.raises(TooBusy, match="3 turns"):
        await session.enqueue(a_turn("e"))
    cluster.engines[0].hold.set()
    async for _ in running_turn:
        pass
    async for _ in await session.resume("d", 0):
        pass
    assert [turn.turn_id for turn in (await session.describe()).turns] == ["a", "b", "c", "d"]


async def test_what_is_idle_gives_its_process_back_after_the_new_time(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    inferlet = await launched(cluster, "@inferlet\nasync def main(args: Args) -> None:\n    await recv()")
    await configure(cluster, sessions={"passivate_after_s": 0.01}, inferlets={"passivate_after_s": 0.01})
    await until(lambda: not any(slot.target.tenant for slot in cluster.slots.values()))
    async with asyncio.timeout(30):
        while [one.state for one in await cluster.greenroom.sessions()] != ["passive"]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await inferlet.send("go on")
    assert (await all_events(inferlet))[-1] == Completed(0, None)
    assert (await session.describe()).length == 0


async def an_echo(cluster: SmallCluster) -> InferletRef:
    """One that has printed and sent something, and repeats what it hears."""
    source = """
        @inferlet
        async def main(args: Args) -> None:
            send("ready")
            while (message := await recv()) != "exit":
                print(message, end="")
                send(len(message))
        """
    instance = await launched(cluster, source)
    assert await instance.read(-1, 30.0) == (Message(0, "ready"),)
    return instance


def limits_of(cluster: SmallCluster, instance: InferletRef, name: str, value: object) -> Callable[[], bool]:
    running: Instance = tenant(cluster, instance.instance_id)
    return lambda: bool(getattr(running._parts.settings, name) == value)


async def test_an_inferlet_that_runs_prints_as_much_as_the_latest_settings_say(cluster: SmallCluster) -> None:
    instance = await an_echo(cluster)
    for message, limit in (("x" * 5, 8), ("y" * 5, 100), ("z" * 5, 1 << 20)):
        await instance.send(message)
        await instance.send("")
        await configure(cluster, inferlets={"max_output_chars": limit})
        await until(limits_of(cluster, instance, "max_output_chars", limit))
    await instance.send("exit")
    events = await all_events(instance)
    assert "".join(event.text for event in events if isinstance(event, Stdout)).startswith("xxxxx")
    assert isinstance(events[-1], Completed)


async def test_an_inferlet_that_runs_holds_as_many_messages_as_the_latest_settings_say(cluster: SmallCluster) -> None:
    source = """
        @inferlet
        async def main(args: Args) -> int:
            for number in range(5):
                send(number)
            await asyncio.sleep(3600)
        """
    await configure(cluster, inferlets={"max_outbox_messages": 2})
    instance = await launched(cluster, source)
    running: Instance = tenant(cluster, instance.instance_id)
    await until(lambda: running._reception.outbox.log.end == 4)  # a send beyond twice the limit holds its thread
    await instance.send("first")
    await configure(cluster, inferlets={"max_inbox_messages": 1})
    await until(limits_of(cluster, instance, "max_inbox_messages", 1))
    with pytest.raises(TooBusy):
        await instance.send("second")
    await configure(cluster, inferlets={"max_inbox_messages": 2, "max_outbox_messages": 10})
    await until(lambda: running._reception.outbox.log.end == 5)
    await instance.send("second")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"time_limit_s": 0.01}, "ran for longer than 0.01 s"),
        ({"memory_limit_bytes": 1 << 20}, "took more than 1 MiB"),
        ({"max_journal_bytes": 1 << 20}, "journal has more than 1 MiB"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_an_inferlet_that_runs_fails_beyond_a_new_limit(
    cluster: SmallCluster, limits: dict[str, Any], reason: str
) -> None:
    source = """
        @inferlet
        async def main(args: Args) -> None:
            send("ready")
            send(len(await recv()))
            await asyncio.sleep(3600)
        """
    instance = await launched(cluster, source)
    assert await instance.read(-1, 30.0) == (Message(0, "ready"),)
    await configure(cluster, inferlets=limits)
    [(name, value)] = limits.items()
    await until(limits_of(cluster, instance, name, value))
    if name == "max_journal_bytes":
        await instance.send("x" * (1 << 20))
    failed = (await all_events(instance))[-1]
    assert isinstance(failed, Failed)
    assert reason in failed.error


async def test_an_inferlet_that_nobody_uses_is_kept_as_long_as_the_latest_settings_say(cluster: SmallCluster) -> None:
    instance = await an_echo(cluster)
    await configure(cluster, inferlets={"idle_timeout_s": 0.05})
    await until(limits_of(cluster, instance, "idle_timeout_s", 0.05))
    await instance.send("x")
    async with asyncio.timeout(30):
        while await cluster.greenroom.inferlets(""):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_larger_pool_is_filled_and_fewer_sessions_or_of_one_owner_are_refused(cluster: SmallCluster) -> None:
    await configure(cluster, sessions={"pool_size": 2})
    await until(lambda: sum(name.startswith("session-") for name in cluster.slots) == 2)
    await cluster.greenroom.open_session(SessionOptions(), "ada")
    await configure(cluster, sessions={"max_sessions_per_owner": 1})
    with pytest.raises(TooBusy):
        await cluster.greenroom.open_session(SessionOptions(), "ada")
    await configure(cluster, sessions={"max_sessions": 1, "max_sessions_per_owner": 5})
    with pytest.raises(TooBusy):
        await cluster.greenroom.open_session(SessionOptions(), "bob")
    await configure(cluster, sessions={"max_sessions": 2})
    await cluster.greenroom.open_session(SessionOptions(), "ada")


async def test_models_their_order_and_agents_are_those_of_the_latest_settings(cluster: SmallCluster) -> None:
    [model] = cluster.settings.models
    other = ModelSettings("other", "nowhere")
    await configure(cluster, models=(other, model), agents={"helper": "a.module:helper"})
    assert [info.name for info in await cluster.greenroom.models()] == ["other", "fake"]
    assert [agent.name for agent in await cluster.greenroom.agents.agents("")] == ["helper"]


async def test_the_shards_of_the_broker_cannot_change_and_the_journal_stays(cluster: SmallCluster) -> None:
    before = await cluster.directory.settings()
    with pytest.raises(InvalidRequest, match="broker.num_shards is 1 .* cannot become 3 .* `greenroom down` first"):
        await configure(cluster, broker=replace(before.broker, num_shards=3))
    assert await cluster.directory.settings() == before
    await configure(cluster, journal=JournalSettings("/elsewhere"), recovery_timeout_s=7.0)
    assert await cluster.directory.settings() == replace(before, recovery_timeout_s=7.0)


async def test_a_directory_that_comes_back_tells_those_that_run(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.settings = replace(cluster.settings, sessions=replace(cluster.settings.sessions, max_queued_turns=9))
    cluster.restart_directory()
    await session.describe()
    await cluster.directory.sessions(None)
    running = tenant(cluster, session.session_id)
    await until(lambda: bool(running._parts.settings.max_queued_turns == 9))
