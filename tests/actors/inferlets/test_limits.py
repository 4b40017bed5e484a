"""Limits of inferlets over everything but Ray: computing, output, messages, journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio

from actors.inferlets.event_loop import ProgramThread
from actors.inferlets.limits import Watch
from actors.inferlets.run import ProgramRun
from actors.settings import InferletSettings
from api.errors import TooBusy, TooLarge
from api.inferlet_events import Completed, Failed, Message, Stderr, Stdout
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(
        pool_size=0,
        max_inferlets=20,
        max_blocking_s=20,
        max_output_chars=1000,
        max_outbox_messages=5,
        max_inbox_messages=50,
        max_inbox_bytes=100_000,
        replay_timeout_s=20,
        memory_limit_bytes=1 << 40,
        max_journal_bytes=1 << 20,
    )
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        yield cluster


async def test_a_program_that_never_yields_fails_and_its_process_ends(cluster: SmallCluster, tmp_path: Path) -> None:
    strict = replace(cluster.settings.inferlets, max_blocking_s=1.5)
    await cluster.directory.configure(replace(cluster.settings, inferlets=strict))
    process_ends = tmp_path / "the process ends"
    instance = await launched(
        cluster,
        f"""
        from pathlib import Path
        @inferlet
        async def main(args: Args) -> None:
            send("I begin")
            while not Path({str(process_ends)!r}).exists():
                pass
        """,
    )
    try:
        first, failed = await all_events(instance)
    finally:
        process_ends.touch()
    assert first == Message(0, "I begin")
    assert isinstance(failed, Failed)
    assert "did not yield for 1.5 s" in failed.error


async def test_a_program_that_gets_no_core_is_not_one_that_never_yields(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProgramThread, "core_s", property(lambda thread: (0.0, time.monotonic())))
    strict = replace(cluster.settings.inferlets, max_blocking_s=0.2)
    await cluster.directory.configure(replace(cluster.settings, inferlets=strict))
    program = """
        from time import sleep
        @inferlet
        async def main(args: Args) -> None:
            sleep(1)
        """
    (ended,) = await all_events(await launched(cluster, program))
    assert isinstance(ended, Completed)


@pytest.mark.parametrize("does_compute", [False, True], ids=["the process stands still", "the program computes"])
async def test_what_the_watch_does_not_see_counts_where_the_program_computed(does_compute: bool) -> None:
    began = time.monotonic()

    class Run:
        has_yielded = False
        host = SimpleNamespace(progress=(0, 0), missing=None)
        desk = SimpleNamespace(is_blocking=False)

        @property
        def core_s(self) -> tuple[float, float]:
            return (time.monotonic() - began if does_compute else 0.0), 0.0

        def probe(self) -> None:
            pass

    settings = InferletSettings(max_blocking_s=1.0, memory_limit_bytes=1 << 40)
    watch = Watch(settings, cast(ProgramRun, Run()), time.time())
    watching = asyncio.create_task(watch.violation())
    for _ in range(4):  # 1.3 s, of which five looks
        await asyncio.sleep(0.01)
        time.sleep(0.3)  # noqa: ASYNC251  nothing else runs
    await asyncio.sleep(0.12)
    assert watching.done() == does_compute
    watching.cancel()
    if does_compute:
        assert "did not yield for 1 s" in (await watching).sentence


async def test_a_program_that_prints_without_end_is_cut_and_told(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> str:
            for _ in range(10_000):
                print("x" * 99)
                await asyncio.sleep(0)
            return "done"
        """,
    )
    events = await all_events(instance)
    assert sum(len(event.text) for event in events if isinstance(event, Stdout)) == 1000
    assert isinstance(events[-2], Stderr)
    assert "more than 1000 characters" in events[-2].text
    assert isinstance(events[-1], Completed)


@pytest.mark.parametrize("call", ["await send(number)", "send(number)"])
async def test_a_program_whose_messages_nobody_reads_waits(cluster: SmallCluster, call: str) -> None:
    instance = await launched(
        cluster,
        f"""
        @inferlet
        async def main(args: Args) -> None:
            for number in range(40):
                {call}
        """,
    )
    while (await instance.describe()).end_position < 5:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert (await instance.describe()).end_position <= 10, "twice the limit where nothing is awaited"
    assert [getattr(event, "value", None) for event in await all_events(instance)] == [*range(40), None]


async def test_messages_that_are_not_received_are_refused_beyond_a_limit(cluster: SmallCluster) -> None:
    instance = await launched(cluster, "@inferlet\nasync def main(args: Args) -> None:\n    await asyncio.sleep(100)\n")
    for number in range(50):
        await instance.send(number)
    with pytest.raises(TooBusy):
        await instance.send("too many")
    with pytest.raises(TooLarge):
        await instance.send("x" * (1 << 21))


@pytest.mark.parametrize(("value", "num_sent"), [("x", 60), ("x" * 40_000, 5)])
async def test_what_comes_all_at_once_or_is_large_is_refused_until_some_is_received(
    cluster: SmallCluster, value: str, num_sent: int
) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> list:
            heard = []
            await asyncio.sleep(2)
            while (message := await recv()) != "exit":
                heard.append(len(message))
                send(len(heard))
            return heard
        """,
    )
    sent = await asyncio.gather(*(instance.send(value) for _ in range(num_sent)), return_exceptions=True)
    refused = [one for one in sent if isinstance(one, TooBusy)]
    num_taken = num_sent - len(refused)
    assert num_taken == min(50, 1 + 100_000 // len(value))
    await messages(instance, num_taken)
    await instance.send("exit")
    assert (await all_events(instance))[-1] == Completed(num_taken, [len(value)] * num_taken)


async def test_a_program_whose_journal_grows_without_end_fails_with_what_to_do(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            while True:
                await store_put("key", "x" * 100_000)
                await store_get("key")
        """,
    )
    [failed] = await all_events(instance)
    assert isinstance(failed, Failed)
    assert "journal has more than 1 MiB" in failed.error
    [stream] = await cluster.journal.streams()
    kept = (await cluster.journal.acquire(stream.key)).records
    assert 1 << 20 < sum(map(len, kept)) < 2 << 20
