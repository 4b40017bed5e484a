"""Timers and threads of one program that race each other and its results, and come in the same order again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.ref import InferletRef
from actors.journal.sqlite import SqliteJournal
from actors.settings import InferletSettings
from api.inferlet_events import Completed, Message
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.inferlets.test_passivation import until_state
from tests.actors.inferlets.test_recovery import Executioner
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, replay_timeout_s=20, passivate_after_s=0.2, memory_limit_bytes=1 << 40)
    async with SmallCluster(tmp_path, inferlets=settings, pool_size=0) as cluster:
        yield cluster


NOTED: dict[str, threading.Event] = {}
"""What programs of these tests have done, in any of their lives."""

OVERTAKEN = """
import threading
import time

async def main(run):
    seen = []
    first = asyncio.create_task(run("first", 0.05, seen.append))
    await asyncio.sleep(0)
    burn(0.03)
    second = asyncio.create_task(run("second", 0.04, seen.append))
    await asyncio.gather(first, second)
    send(seen)
    send(await recv())
"""
WAYS = {
    "sleep": """
async def run(name, delay_s, note):
    await asyncio.sleep(delay_s)
    note(name)
""",
    "wait_for": """
async def run(name, delay_s, note):
    try:
        await asyncio.wait_for(asyncio.Event().wait(), delay_s)
    except TimeoutError:
        note(name)
""",
    "timeout": """
async def run(name, delay_s, note):
    try:
        async with asyncio.timeout(delay_s):
            await recv()
    except TimeoutError:
        note(name)
""",
    "call_later": """
async def run(name, delay_s, note):
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * delay_s, note, "never").cancel()
    asyncio.get_running_loop().call_later(delay_s, lambda: (note(name), done.set()))
    await done.wait()
""",
}
BURN_ONCE = """
from tests.actors.inferlets.test_timers_of_programs import NOTED

def burn(seconds):
    if instance_id() not in NOTED:
        NOTED[instance_id()] = threading.Event()
        time.sleep(seconds)
"""
START = """
@inferlet
async def program(args: Args) -> None:
    await main(run)
"""


@pytest.mark.parametrize("way", WAYS)
async def test_timers_run_out_in_the_same_order_again(cluster: SmallCluster, way: str) -> None:
    """The second runs out 20 ms after the first, since the program computed for 30 ms before it set it: only once."""
    instance = await launched(cluster, OVERTAKEN + WAYS[way] + BURN_ONCE + START)
    assert await messages(instance, 1) == [["first", "second"]]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("after")
    assert await messages(instance, 2) == [["first", "second"], "after"]


@pytest.mark.parametrize("is_sent_first", [True, False])
async def test_a_timer_comes_again_on_its_side_of_a_message(cluster: SmallCluster, is_sent_first: bool) -> None:
    has_noted = NOTED["timer"] = threading.Event()
    instance = await launched(
        cluster,
        """
        from tests.actors.inferlets.test_timers_of_programs import NOTED

        @inferlet
        async def main(args: Args) -> None:
            seen = []

            async def note(delay_s):
                await asyncio.sleep(delay_s)
                seen.append("timer")
                NOTED["timer"].set()

            noting = asyncio.create_task(note(float(args.argv[0])))
            seen.append(await recv())
            await noting
            send(seen)
            send(await recv())
        """,
        "1.5" if is_sent_first else "0.01",
    )
    if not is_sent_first:
        assert await asyncio.to_thread(has_noted.wait, 10)
    await instance.send("message")
    expected = [["message", "timer"] if is_sent_first else ["timer", "message"]]
    assert await messages(instance, 1) == expected
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("after")
    assert await messages(instance, 2) == [*expected, "after"]


async def test_the_clock_of_a_program_reads_the_same_again(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        import time
        @inferlet
        async def main(args: Args) -> None:
            loop = asyncio.get_running_loop()
            begun_at = loop.time()
            for _ in range(2):
                await asyncio.sleep(0.05)
                time.sleep(0.02)
                await asyncio.to_thread(time.sleep, 0.02)
                send(loop.time() - begun_at)
                await recv()
            try:
                async with asyncio.timeout_at(begun_at + 0.1):
                    await recv()
            except TimeoutError:
                send("too late")
            send(await recv())
        """,
    )
    (first,) = await messages(instance, 1)
    assert isinstance(first, float)
    assert 0.09 <= first < 20
    for expected in ([first], [first]):
        cluster.kill_inferlet(instance.instance_id)
        assert await messages(instance, 1) == expected
    await instance.send("one")
    _, second = await messages(instance, 2)
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("two")
    assert await messages(instance, 3) == [first, second, "too late"]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("after")
    assert await messages(instance, 4) == [first, second, "too late", "after"]


async def test_a_sleep_lasts_from_where_it_was_called(cluster: SmallCluster) -> None:
    """Although the program computed before, and its clock stood meanwhile."""
    instance = await launched(
        cluster,
        """
        import time
        @inferlet
        async def main(args: Args) -> None:
            time.sleep(0.2)
            slept_at = time.monotonic()
            await asyncio.sleep(0.1)
            return time.monotonic() - slept_at
        """,
    )
    (completed,) = await all_events(instance)
    assert isinstance(completed, Completed)
    assert isinstance(completed.value, float)
    assert completed.value >= 0.0999


RACING = """
import random as chance
import time

@inferlet
async def main(args: Args) -> int:
    log, loop = [], asyncio.get_running_loop()

    def note(name):
        time.sleep(chance.uniform(0, 0.002))
        log.append(name)

    async def tick(name, delay_s):
        for number in range(6):
            await asyncio.sleep(delay_s)
            note([name, number])

    async def give_up(name):
        for number in range(4):
            try:
                async with asyncio.timeout(0.004):
                    await recv() if number % 2 else await asyncio.Event().wait()
            except TimeoutError:
                note([name, number])

    async def work(name):
        for number in range(3):
            await asyncio.to_thread(time.sleep, chance.uniform(0, 0.01))
            note([name, number])
            await asyncio.sleep(0.001)

    async def look(name):
        for number in range(4):
            await store_get("key")
            note([name, number])
            await asyncio.sleep(0.003)

    for number in range(3):
        never = loop.call_later(0.012, note, "later")
        loop.call_later(0.011, never.cancel)
        await asyncio.gather(tick("a", 0.004), tick("b", 0.004), tick("c", 0.005), give_up("d"), work("e"), look("f"))
        send(log)
        assert await recv() == number
    return len(log)
"""


async def raced(instance: InferletRef) -> list[object]:
    """Answer each of its messages; all of them, and its result."""
    found: list[object] = []
    async with asyncio.timeout(20):
        async for event in instance.events():
            assert isinstance(event, Message | Completed), event
            found.append(event.value)
            if isinstance(event, Message):
                await instance.send(event.position, f"key {event.position}")
    return found


async def test_a_death_at_any_call_of_a_program_of_races_changes_nothing(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long its steps and threads take differs from life to life; the log that it sends only grows."""
    with monkeypatch.context() as patches:
        undisturbed = Executioner(cluster, patches, 0)
        await raced(await launched(cluster, RACING))
    for at in range(1, undisturbed.num_calls - 3, 5):
        with monkeypatch.context() as patches:
            executioner = Executioner(cluster, patches, at)
            logs = await raced(await launched(cluster, RACING))
        assert executioner.is_done
        *kept, num_noted = logs
        assert len(kept) == 3
        for before, after in zip(kept, kept[1:], strict=False):
            assert isinstance(before, list)
            assert isinstance(after, list)
            assert after[: len(before)] == before, at
        assert isinstance(kept[-1], list)
        assert num_noted == len(kept[-1]), at


async def test_timers_of_a_program_that_was_put_away_keep_their_order(cluster: SmallCluster) -> None:
    instance = await launched(cluster, RACING)
    (log,) = await messages(instance, 1)
    await until_state(cluster, instance.instance_id, "waiting")
    logs = await raced(instance)
    assert logs[0] == log
    assert isinstance(logs[-1], int)


async def test_a_timer_costs_no_write_of_its_own(cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    num_writes = 0
    real = SqliteJournal.append

    async def append(journal: SqliteJournal, *arguments: object) -> None:
        nonlocal num_writes
        num_writes += 1
        await real(journal, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteJournal, "append", append)
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            for _ in range(50):
                await asyncio.sleep(0.001)
            send("done")
            send(await recv())
        """,
    )
    assert await messages(instance, 1) == ["done"]
    assert num_writes == 1
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("after")
    assert await messages(instance, 2) == ["done", "after"]


async def test_timers_that_are_always_over_hold_up_no_message(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> list:
            over = asyncio.Event()

            async def spin():
                while not over.is_set():
                    await asyncio.sleep(1e-9)

            spinning = [asyncio.create_task(spin()) for _ in range(2)]
            heard = [await recv()]
            over.set()
            await asyncio.gather(*spinning)
            send(heard)
            return [*heard, await recv()]
        """,
    )
    await instance.send("first")
    assert await messages(instance, 1) == [["first"]]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("last")
    assert (await all_events(instance))[-1] == Completed(1, ["first", "last"])


async def test_a_program_that_polls_is_told_of_its_timers(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(0.01, send, "soon")
            asyncio.get_running_loop().call_later(0.02, over.set)
            while not over.is_set():
                await asyncio.sleep(0)
            send("over")
            send(await recv())
        """,
    )
    assert await messages(instance, 2) == ["soon", "over"]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("after")
    assert await messages(instance, 3) == ["soon", "over", "after"]


async def test_timers_wait_for_a_call_that_a_file_leads_to(cluster: SmallCluster) -> None:
    """What is read is in no journal; but timers that ran out after the call that it led to do so again."""
    instance = await launched(
        cluster,
        """
        import os
        import threading

        async def tick():
            while True:
                await asyncio.sleep(0.005)

        @inferlet
        async def main(args: Args) -> None:
            ticking = asyncio.create_task(tick())
            source, sink = os.pipe()
            threading.Timer(0.05, os.write, (sink, b"x")).start()
            is_there = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.add_reader(source, is_there.set)
            await is_there.wait()
            loop.remove_reader(source)
            os.close(source)
            os.close(sink)
            asyncio.get_running_loop().call_later(0.03, send, "ticked")
            async with asyncio.timeout(30):
                send(await recv())
            send(await recv())
        """,
    )
    assert await messages(instance, 1) == ["ticked"]
    await instance.send("one")
    assert await messages(instance, 2) == ["ticked", "one"]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("two")
    assert await messages(instance, 3) == ["ticked", "one", "two"]


async def test_one_whose_thread_works_is_not_put_away(cluster: SmallCluster) -> None:
    has_worked = NOTED["worked"] = threading.Event()
    instance = await launched(
        cluster,
        """
        import time
        from tests.actors.inferlets.test_timers_of_programs import NOTED

        async def work():
            await asyncio.to_thread(time.sleep, 0.6)
            NOTED["worked"].set()

        @inferlet
        async def main(args: Args) -> None:
            working = asyncio.create_task(work())
            send(await recv())
        """,
    )
    assert await asyncio.to_thread(has_worked.wait, 10)
    await instance.send("message")
    assert await messages(instance, 1) == ["message"]


async def test_a_thread_that_raises_raises_where_it_is_waited_for(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        def work():
            raise ValueError("no")

        @inferlet
        async def main(args: Args) -> str:
            try:
                await asyncio.to_thread(work)
            except ValueError as error:
                return str(error)
        """,
    )
    assert await all_events(instance) == [Completed(0, "no")]
