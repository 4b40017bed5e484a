"""Programs that continue as new, over everything but Ray: what their clients see equals that of one long run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.executor import EffectDesk
from actors.inferlets.ports import InferletParts
from actors.inferlets.records import Continued, Delivered, Launched, PutAway, Record, Sent, decode, passes
from actors.inferlets.ref import InferletRef
from actors.inferlets.rehearsal import rehearse
from actors.journal.contract import Acquired
from actors.settings import InferletSettings
from api.errors import GreenroomError
from api.inferlet import continue_as_new
from api.inferlet_events import Completed, Event, Failed, Lagged, Message, Stderr, Stdout, Terminated
from api.names import TopicId
from tests.actors.inferlets.programs import all_events, launched, messages
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

COUNTER = """
BEFORE = []

@inferlet
async def main(args: Args) -> None:
    count, num_here = args.state or 0, 0
    BEFORE.append(count)
    while (message := await recv()) != "exit":
        count, num_here = count + 1, num_here + 1
        send([count, message, len(BEFORE), list(args.argv)])
        if num_here == 3:
            await continue_as_new(count)
"""

BUSY = """
import time

@inferlet
async def main(args: Args) -> object:
    state = args.state or {"run": 0, "heard": [], "news": [], "work": []}
    run, mine = state["run"], instance_id()
    print("run", run)
    if run == 3:
        return state
    context = get_auto_model().create_context()
    context.fill("abc")
    send([run, await context.generate(stop=max_len(2))])
    state["heard"].append(await recv())
    await store_put(f"run {mine}", run)
    broadcast(["news", run], f"topic {mine}")
    state["news"].append(await subscribe(f"topic {mine}"))
    broadcast(["more", run], f"topic {mine}")
    push(["work", run], f"queue {mine}")
    item = await pull(f"queue {mine}")
    state["work"].append(item.value)
    await item.ack()
    push(["left", run], f"left {mine}")
    timer = asyncio.create_task(asyncio.sleep(1000))
    ahead = [asyncio.create_task(recv()) for _ in range(2)]
    await asyncio.sleep(0)
    time.sleep(0.002)  # both messages come, and the run is not given them
    try:
        await continue_as_new({**state, "run": run + 1})
    finally:
        send("this run is over")
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40, max_inferlets=300, max_journal_bytes=1 << 20)
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, inferlets=settings, topics=broker.ref(), pool_size=0) as cluster:
            cluster.engines[0].step_s = 0.0
            yield cluster


async def recorded(cluster: SmallCluster, instance: InferletRef) -> list[Record]:
    return [decode(line) for line in await cluster.inferlets.recorded(instance.instance_id)]


def counts(events: list[Event]) -> list[object]:
    """What ``COUNTER`` counted."""
    return [event.value[0] for event in events if isinstance(event, Message) and isinstance(event.value, list)]


async def test_a_run_begins_with_the_arguments_the_state_and_nothing_else_of_the_run_before(
    cluster: SmallCluster,
) -> None:
    instance = await launched(cluster, COUNTER, "--any")
    for number in range(10):
        await instance.send(number)
    assert await messages(instance, 10) == [[number + 1, number, 1, ["--any"]] for number in range(10)]
    cluster.kill_inferlet(instance.instance_id)
    await instance.send("last")
    await instance.send("exit")
    events = await all_events(instance)
    assert events[10:] == [Message(10, [11, "last", 1, ["--any"]]), Completed(11, None)]
    assert events[:10] == [Message(number, [number + 1, number, 1, ["--any"]]) for number in range(10)]


async def test_the_same_key_is_the_same_message_after_the_program_has_continued(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER)
    for number in range(3):
        await instance.send(number, f"key {number}")
    await messages(instance, 3)
    for _ in range(2):
        assert await instance.send(1, "key 1") == 1
        cluster.kill_inferlet(instance.instance_id)
    assert await instance.send("exit") == 3
    assert [type(event) for event in await all_events(instance)] == [Message, Message, Message, Completed]


async def test_a_death_at_any_call_changes_nothing_that_the_client_sees(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_calls = await _conversation(cluster, monkeypatch, die_at=None)
    assert num_calls > 40
    for at in range(1, num_calls + 1):
        await _conversation(cluster, monkeypatch, die_at=at)


async def _conversation(cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch, die_at: int | None) -> int:
    num_calls, is_dead = 0, False
    real = EffectDesk._add

    def add(desk: EffectDesk, record: Record) -> None:
        nonlocal num_calls, is_dead
        num_calls += 1
        if num_calls == die_at and not is_dead:
            is_dead = True
            cluster.kill_inferlet(desk._id)
        else:
            real(desk, record)

    with monkeypatch.context() as patches:
        patches.setattr(EffectDesk, "_add", add)
        instance = await launched(cluster, BUSY)
        for number in range(5):
            await instance.send(number, f"key of {number}")
        events = await all_events(instance)
    assert is_dead or die_at is None or die_at > num_calls - 3
    assert [event.position for event in events] == list(range(len(events))), die_at
    assert [event.text for event in events if isinstance(event, Stdout)] == [f"run {run}\n" for run in range(4)], die_at
    said = [event.value for event in events if isinstance(event, Message)]
    assert [one[0] for one in said if isinstance(one, list)] == [0, 1, 2], die_at
    news = [["news", 0], ["more", 0], ["news", 1]]
    work = [["work", run] for run in range(3)]
    end = {"run": 3, "heard": [0, 1, 2], "news": news, "work": work}
    assert events[-1] == Completed(len(events) - 1, end), die_at
    await _has_left(cluster, instance)
    return num_calls


async def _has_left(cluster: SmallCluster, instance: InferletRef) -> None:
    """What it sent and did not wait for came once."""
    assert cluster.topics is not None
    topic, queue = TopicId(f"topic {instance.instance_id}"), TopicId(f"left {instance.instance_id}")
    subscription = await cluster.topics.subscribe(topic)
    heard = [getattr(await subscription.recv(5.0), "value", None) for _ in range(6)]
    assert heard == [[kind, run] for run in range(3) for kind in ("news", "more")]
    with pytest.raises(TimeoutError):
        await subscription.recv(0.0)
    await subscription.close()
    left = [(await cluster.topics.pull(queue, 5.0)).value for _ in range(3)]
    assert left == [["left", run] for run in range(3)]
    with pytest.raises(TimeoutError):
        await cluster.topics.pull(queue, 0.0)


async def test_a_program_that_continues_does_more_than_its_journal_may_have(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> int:
            run = args.state or 0
            for _ in range(4):
                await store_put("key", "x" * 100_000)
                await store_get("key")
            if run == 9:
                return await recv()
            await continue_as_new(run + 1)
        """,
    )
    await instance.send("done")
    assert await all_events(instance) == [Completed(0, "done")]
    assert sum(map(len, await cluster.inferlets.recorded(instance.instance_id))) < 600_000


async def test_the_journal_has_nothing_of_the_runs_before_but_what_clients_know(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER)
    for number in range(30):
        await instance.send(number)
        await messages(instance, 1, after=number - 1)
        if number % 7 == 0:
            cluster.kill_inferlet(instance.instance_id)
    while not isinstance((found := await recorded(cluster, instance))[-1], Continued):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert isinstance(found[0], Launched)
    [continued] = [record for record in found if passes(record)]
    assert isinstance(continued, Continued)
    assert replace(continued, num_read=0) == Continued(60, 0, 30, {}, 0, False, 30)
    assert len(found) == 1 + 30 + 30 + 1


@pytest.mark.parametrize("dies", [False, True])
async def test_of_what_was_received_and_read_before_it_continued_as_much_is_kept_as_may_wait(
    cluster: SmallCluster, dies: bool
) -> None:
    few = replace(cluster.settings.inferlets, max_inbox_messages=5, max_outbox_messages=6)
    await cluster.directory.configure(replace(cluster.settings, inferlets=few))
    instance = await launched(cluster, COUNTER)
    for number in range(60):
        assert await instance.send(number, f"key of {number}") == number
        assert [one[:2] for one in await messages(instance, 1, after=number - 1)] == [[number + 1, number]]  # type: ignore[index]
        if dies and number % 7 == 0:
            cluster.kill_inferlet(instance.instance_id)
    while not isinstance((found := await recorded(cluster, instance))[-1], Continued):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    sent = [record for record in found if isinstance(record, Sent)]
    delivered = [record for record in found if isinstance(record, Delivered)]
    assert len(found) == 2 + len(sent) + len(delivered)
    assert 5 <= len(delivered) <= 5 + 3
    assert 6 <= len(sent) <= 6 + 3
    late = await messages_after_lagged(instance)
    assert late == [[number + 1, number] for number in range(60 - len(sent), 60)]
    assert await instance.send("again", "key of 59") == 59
    assert await instance.send("exit", "key of 0") == 60
    assert (await all_events(instance, after=59))[-1] == Completed(60, None)
    assert faults_of(await cluster.journal.acquire(f"inferlet/{instance.instance_id}")) == []


async def messages_after_lagged(instance: InferletRef) -> list[object]:
    """What a late reader gets of the 60, after it has been told what it missed."""
    found: list[object] = []
    missed = 0
    async for event in instance.events():
        if isinstance(event, Lagged):
            assert (event.position, found) == (event.missed - 1, [])
            missed = event.missed
        assert isinstance(event, Lagged | Message)
        if isinstance(event, Message):
            assert event.position == missed + len(found)
            found.append(event.value[:2])  # type: ignore[index]
        if missed + len(found) == 60:
            return found
    raise AssertionError("it goes on")


def faults_of(acquired: Acquired) -> list[int]:
    """Positions that are missing after the program last began."""
    records = [decode(line) for line in acquired.records]
    last = max(number for number, record in enumerate(records) if isinstance(record, Continued))
    after = acquired.positions[last:]
    return [position for position in range(after[0], after[-1]) if position not in after]


async def test_what_nobody_has_read_is_kept_over_all_that_it_continues(cluster: SmallCluster) -> None:
    few = replace(cluster.settings.inferlets, max_inbox_messages=5, max_outbox_messages=6)
    await cluster.directory.configure(replace(cluster.settings, inferlets=few))
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            run = args.state or 0
            await send(run)
            if run < 30:
                await continue_as_new(run + 1)
        """,
    )
    first = await messages(instance, 5)
    assert first + await messages(instance, 26, after=4) == [*range(31)]


async def test_only_what_came_since_counts_toward_the_limit_also_after_a_death(cluster: SmallCluster) -> None:
    source = """
        @inferlet
        async def main(args: Args) -> str:
            while (message := await recv()) != "exit":
                send(len(message))
                if message[0] == "n":
                    await continue_as_new("x" * 400_000)
            return len(args.state or "")
        """
    instance = await launched(cluster, source)
    for number in range(8):
        await instance.send("n" * 300_000)
        await messages(instance, 1, after=number - 1)
        if number % 3 == 0:
            cluster.kill_inferlet(instance.instance_id)
    await instance.send("exit")
    assert (await all_events(instance))[-1] == Completed(8, 400_000)
    other = await launched(cluster, source)
    for _ in range(2):
        await other.send("o" * 300_000)
    failed = (await all_events(other))[-1]
    assert isinstance(failed, Failed)
    assert "continue_as_new" in failed.error


async def test_a_replay_begins_where_the_program_continued(cluster: SmallCluster) -> None:
    instance = await launched(cluster, COUNTER)
    for number in range(5):
        await instance.send(number)
    await messages(instance, 5)
    while not _has_received(history := await recorded(cluster, instance)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    cluster.kill_inferlet(instance.instance_id)
    rehearsed = await rehearse(instance.instance_id, history)
    assert rehearsed.repeats_itself
    assert rehearsed.sentence == "the program repeats its 4 calls, and then waits in call 11 (Receive)"
    text = history[0].source if isinstance(history[0], Launched) else ""
    sooner = await rehearse(instance.instance_id, history, (text or "").replace("num_here == 3", "num_here == 2"))
    assert sooner.repeats_itself
    assert "waits in call 11 (continue_as_new)" in sooner.sentence
    too_soon = await rehearse(instance.instance_id, history, (text or "").replace("num_here == 3", "num_here == 1"))
    assert not too_soon.repeats_itself
    assert "continued as new, and had made call 9 (Receive, which had returned) before" in too_soon.sentence


def _has_received(history: list[Record]) -> bool:
    """Four calls since it has continued are recorded: two messages, each answered."""
    return sum(not isinstance(record, Continued) and passes(record) for record in history) == 2


@pytest.mark.parametrize("head", ["@inferlet", "@inferlet(durable=False)"])
async def test_a_program_without_replay_continues_too(cluster: SmallCluster, head: str) -> None:
    instance = await launched(cluster, COUNTER.replace("@inferlet", head))
    for number in range(7):
        await instance.send(number)
    await instance.send("exit")
    events = await all_events(instance)
    assert counts(events) == [1, 2, 3, 4, 5, 6, 7]
    assert events[-1] == Completed(7, None)


async def test_a_program_that_does_nothing_but_continue_can_be_terminated(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            if args.state == 5:
                send("five")
            await continue_as_new((args.state or 0) + 1)
        """,
    )
    await messages(instance, 1)
    await instance.terminate()
    events: list[Event] = await all_events(instance)
    assert events == [Message(0, "five"), Terminated(1)]
    assert len(await recorded(cluster, instance)) == 4


async def test_a_task_beside_main_can_continue_the_program_and_a_state_that_cannot_be_kept_is_refused(
    cluster: SmallCluster,
) -> None:
    instance = await launched(
        cluster,
        """
        async def beside():
            refused = 0
            for state in ({1, 2}, "x" * (2 << 20)):
                try:
                    await continue_as_new(state)
                except Exception:
                    refused += 1
            await continue_as_new(refused)

        @inferlet
        async def main(args: Args) -> object:
            if args.state is not None:
                return args.state
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(beside())
                    await asyncio.sleep(1000)
            finally:
                send("not sent")
        """,
    )
    assert await all_events(instance) == [Completed(0, 2)]


async def test_nothing_counts_that_it_still_does_after_it_has_continued(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        async def beside():
            await asyncio.sleep(0)
            print("x" * 5000)
            send("not sent")

        @inferlet
        async def main(args: Args) -> object:
            print("run", args.state)
            if args.state:
                return await recv()
            task = asyncio.create_task(beside())
            await continue_as_new("again")
        """,
    )
    await instance.send("done")
    assert await all_events(instance) == [Stdout(0, "run None\n"), Stdout(1, "run again\n"), Completed(2, "done")]


@pytest.mark.parametrize("dies", [False, True])
async def test_what_all_its_runs_print_is_kept_to_one_limit(cluster: SmallCluster, dies: bool) -> None:
    strict = replace(cluster.settings.inferlets, max_output_chars=10)
    await cluster.directory.configure(replace(cluster.settings, inferlets=strict))
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> None:
            run = args.state or 0
            print(f"run {run}")
            if run in (2, 4):
                await recv()
            if run < 6:
                await continue_as_new(run + 1)
        """,
    )
    for _ in range(2):
        if dies:
            cluster.kill_inferlet(instance.instance_id)
        await instance.send("go on")
    events = await all_events(instance)
    assert "".join(event.text for event in events if isinstance(event, Stdout)) == "run 0\nrun "
    [told] = [event for event in events if isinstance(event, Stderr)]
    assert "more than 10 characters" in told.text
    assert isinstance(events[-1], Completed)


async def test_its_contexts_are_freed_when_it_continues(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        KEPT = []
        @inferlet
        async def main(args: Args) -> None:
            if args.state:
                await recv()
            context = get_auto_model().create_context()
            context.fill("abc")
            await context.generate(stop=max_len(3))
            KEPT.append(context)
            send("now")
            await continue_as_new("again")
        """,
    )
    await messages(instance, 1)
    async with asyncio.timeout(30):
        while cluster.engines[0].contexts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_its_process_is_cleaned_in_between_and_ends_after_it_if_that_failed(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks: list[tuple[str, ...]] = [(), ("it has left 1 threads and 0 processes running",)]
    parts = partial(InferletParts, clean_up=lambda: remarks.pop(0))
    monkeypatch.setattr("tests.actors.small_cluster.InferletParts", parts)
    instance = await launched(cluster, COUNTER)
    are_spent = []
    for number in range(8):
        await instance.send(number)
        await messages(instance, 1, after=number - 1)
        are_spent += [slot.target.tenant.is_spent for slot in cluster.slots.values() if slot.target.tenant]
    assert are_spent[:4] == [False] * 4
    assert are_spent[6:] == [True, True]
    assert remarks == []


async def test_a_program_that_has_continued_is_passivated_and_goes_on(cluster: SmallCluster) -> None:
    soon = replace(cluster.settings.inferlets, passivate_after_s=0.05)
    await cluster.directory.configure(replace(cluster.settings, inferlets=soon))
    instance = await launched(cluster, COUNTER)
    for number in range(4):
        await instance.send(number)
        await messages(instance, 1, after=number - 1)
        while not isinstance((await recorded(cluster, instance))[-1], PutAway):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await instance.send("exit")
    assert counts(await all_events(instance)) == [1, 2, 3, 4]


async def test_what_it_has_pulled_and_not_acknowledged_can_be_pulled_again_at_once(cluster: SmallCluster) -> None:
    instance = await launched(
        cluster,
        """
        @inferlet
        async def main(args: Args) -> object:
            if args.state is None:
                await push("item", "work")
            item = await pull("work", 5.0)
            if args.state is None:
                await continue_as_new("pulled")
            return [item.value, item.num_deliveries, await item.ack()]
        """,
    )
    assert await all_events(instance) == [Completed(0, ["item", 2, True])]


async def test_outside_of_a_program_there_is_nothing_to_continue() -> None:
    with pytest.raises(GreenroomError, match="launch the program"):
        await continue_as_new()
