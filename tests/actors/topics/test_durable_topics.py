"""Topics and queues that outlive the broker's death."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.journal.contract import StreamInfo
from actors.settings import QueueSettings, TopicSettings
from actors.topics.messages import Lane, LaneAnswer
from actors.topics.segments import SegmentKey, Segments
from actors.topics.subscription import BrokerSubscription
from api.errors import TopicNotFound, Unavailable
from api.names import MessageKey, TopicId
from api.topics import Cursor, TopicEvent, TopicMessage
from tests.actors.topics.small_broker import SmallBroker

NEWS, WORK = TopicId("news", "ada\nand bob"), TopicId("work", "ada")


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallBroker]:
    topics, queues = (TopicSettings("*", is_durable=True),), (QueueSettings("*", is_durable=True),)
    async with SmallBroker(tmp_path, topics=topics, queues=queues) as small:
        yield small


async def read(subscription: BrokerSubscription, count: int) -> list[TopicEvent]:
    """The next events."""
    return [await subscription.recv() for _ in range(count)]


async def test_messages_positions_and_places_outlive_the_broker(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)
    for value in ("a", b"b", {"c": 1}):
        await ref.publish(NEWS, value)
    assert (await subscription.recv(60)).position == 0
    await small.restart()
    assert (await ref.publish(NEWS, "d")).position == 3
    events = [await subscription.recv(60) for _ in range(3)]
    assert [event.value for event in events if isinstance(event, TopicMessage)] == [b"b", {"c": 1}, "d"]
    late = await small.ref().subscribe(NEWS, after=Cursor(events[0].epoch, 2))
    assert (await late.recv(60)).position == 3


@pytest.mark.parametrize("seed", range(10))
async def test_deaths_under_load_lose_repeat_and_reorder_nothing(small: SmallBroker, seed: int) -> None:
    chance, num_messages = random.Random(seed), 300
    subscriptions = [await small.ref().subscribe(NEWS) for _ in range(3)]

    async def publish() -> None:
        ref = small.ref()
        pending = []
        for index in range(num_messages):
            pending.append(ref.publish(NEWS, index))
            for _ in range(chance.randrange(20)):
                await asyncio.sleep(0)
        await asyncio.gather(*pending)

    async def kill() -> None:
        for _ in range(4):
            for _ in range(chance.randrange(400)):
                await asyncio.sleep(0)
            await small.restart()

    async with asyncio.timeout(60):
        reading = [asyncio.create_task(read(subscription, num_messages)) for subscription in subscriptions]
        await asyncio.gather(publish(), kill())
        received_by_all = [await task for task in reading]
    for received in received_by_all:
        values = [event.value for event in received if isinstance(event, TopicMessage)]
        assert values == list(range(num_messages))
        assert [event.position for event in received] == list(range(num_messages))


async def test_a_message_is_neither_accepted_nor_shown_before_it_is_written(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)
    await ref.publish(NEWS, "a")
    await subscription.recv(60)
    written = asyncio.Event()
    append = small.journal.append

    async def slow_append(*arguments: object) -> None:
        await written.wait()
        await append(*arguments)  # type: ignore[arg-type]

    small.journal.append = slow_append  # type: ignore[method-assign, assignment]
    publishing = ref.publish(NEWS, "b")
    with pytest.raises(TimeoutError):
        await subscription.recv(0.01)
    assert not publishing.done()
    written.set()
    await publishing
    assert (await subscription.recv(60)).position == 1


@pytest.mark.parametrize("num_ticks", range(12))
async def test_a_call_that_is_cancelled_half_way_leaves_the_topic_whole(small: SmallBroker, num_ticks: int) -> None:
    publishing = asyncio.create_task(small.broker().publish([Lane(NEWS, "somebody", ((0, b"ta"),))], 0.0))
    pushing = asyncio.create_task(small.broker().push([Lane(WORK, "somebody", ((0, b"ta"),))], 0.0))
    for _ in range(num_ticks):
        await asyncio.sleep(0)
    publishing.cancel()
    pushing.cancel()
    await asyncio.gather(publishing, pushing, return_exceptions=True)
    ref = small.ref()
    position, place = (await ref.publish(NEWS, "b")).position, (await ref.push(WORK, "b")).position
    await small.restart()
    assert (await ref.publish(NEWS, "c")).position == position + 1
    assert (await ref.push(WORK, "c")).position == place + 1


async def test_a_write_that_fails_is_no_message(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.publish(NEWS, "a")
    append = small.journal.append

    async def full_disk(*arguments: object) -> None:
        raise Unavailable("the disk is full")

    small.journal.append = full_disk  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable, match="full"):
        await ref.publish(NEWS, "b")
    small.journal.append = append  # type: ignore[method-assign]
    assert (await ref.publish(NEWS, "c")).position == 1


async def test_what_a_publisher_repeats_after_the_brokers_death_is_the_same_message(small: SmallBroker) -> None:
    await small.ref().publish(NEWS, "a", MessageKey("instance-1", 4))
    await small.restart()
    assert (await small.ref().publish(NEWS, "a", MessageKey("instance-1", 4))).position == 0
    assert (await small.ref().publish(NEWS, "b", MessageKey("instance-1", 5))).position == 1


async def test_a_broker_that_was_replaced_accepts_nothing(small: SmallBroker) -> None:
    await small.ref().publish(NEWS, "a")
    old, fenced = small.broker(), []
    old._on_fenced = lambda: fenced.append(True)
    await small.restart()
    (answer,) = await old.publish([Lane(NEWS, "somebody", ((0, b"tb"),))], 0.0)
    assert isinstance(answer.refusal, Unavailable)
    assert fenced == [True]
    assert [info.end for info in await small.ref().topics(NEWS.owner)] == [1]


@pytest.mark.parametrize("num_listings", [1, 2])
async def test_a_segment_that_a_replaced_broker_begins_is_taken_over_or_refused(
    small: SmallBroker, monkeypatch: pytest.MonkeyPatch, num_listings: int
) -> None:
    """It begins one right after its successor has listed them, for the first or for the last time."""
    monkeypatch.setattr(Segments, "MAX_RECORDS", 1)
    await small.ref().push(WORK, "first")
    old, real = small.broker(), small.journal.streams
    late: list[LaneAnswer] = []
    old._on_fenced = lambda: None

    async def streams(owner: str | None = None) -> tuple[StreamInfo, ...]:
        nonlocal num_listings
        found = await real(owner)
        num_listings -= 1
        if num_listings == 0:
            late.extend(await old.push([Lane(WORK, "somebody", ((0, b"t"),))], 0.0))
        return found

    monkeypatch.setattr(small.journal, "streams", streams)
    await small.restart()
    ref = small.ref()
    position = (await ref.push(WORK, "last")).position
    items = [await ref.pull(WORK) for _ in range(position + 1)]
    assert [item.position for item in items] == list(range(position + 1))
    assert items[-1].value == "last"
    (answer,) = late
    assert len(answer.positions) == position - 1, "what was accepted is there, and nothing else is"


async def test_the_journal_keeps_little_more_than_the_topic_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segments, "MAX_RECORDS", 20)
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", is_durable=True, max_messages=10),)) as small:
        ref = small.ref()
        for index in range(200):
            await ref.publish(NEWS, index)
        await small.broker().sweep()
        assert len(await small.journal.streams()) <= 2
        small.passed_s += 601
        await small.broker().sweep()
        await small.restart()
        (info,) = await ref.topics(NEWS.owner)
        assert (info.end, info.is_durable) == (200, True)
        assert (await ref.publish(NEWS, "more")).position == 200


async def test_a_queues_items_and_who_has_them_outlive_the_broker(small: SmallBroker) -> None:
    first, second = small.ref(), small.ref()
    for value in "abcd":
        await first.push(WORK, value)
    assert await first.ack(await first.pull(WORK))
    held = await first.pull(WORK)
    await small.restart()
    item = await second.pull(WORK)
    assert (item.value, item.position) == ("c", 2)
    assert await first.ack(held) is True
    await small.restart()
    assert await second.ack(item) is True
    assert (await second.pull(WORK)).value == "d"
    with pytest.raises(TimeoutError):
        await second.pull(WORK, timeout_s=0)


async def test_what_a_dead_consumer_had_before_the_brokers_death_goes_to_another(small: SmallBroker) -> None:
    await small.ref().push(WORK, "a")
    await small.broker().pull("dead-process", "ticket-1", WORK, 0.0, 3600.0)
    await small.restart()
    ref = small.ref()
    with pytest.raises(TimeoutError):
        await ref.pull(WORK, timeout_s=0)
    small.passed_s += 31
    await small.broker().sweep()
    item = await ref.pull(WORK)
    assert (item.value, item.num_deliveries) == ("a", 2)


async def test_a_queue_that_works_keeps_its_journal_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Segments, "MAX_RECORDS", 20)
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", is_durable=True),)) as small:
        ref = small.ref()
        for index in range(60):
            await ref.push(WORK, index)
            await ref.ack(await ref.pull(WORK))
        await small.broker().sweep()
        assert len(await small.journal.streams()) <= 2
        await small.restart()
        assert (await ref.push(WORK, "more")).position == 60
    connection = sqlite3.connect(tmp_path / "topics.db")
    assert connection.execute("SELECT count(*) FROM records").fetchone()[0] < 60
    connection.close()


@pytest.mark.parametrize("seed", range(10))
async def test_a_queue_over_many_segments_and_deaths_gives_each_item_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(Segments, "MAX_RECORDS", 16)  # an answer that was lost is asked for before two are past
    chance = random.Random(seed)
    done: list[int] = []
    async with SmallBroker(tmp_path, queues=(QueueSettings("*", is_durable=True),)) as small:

        async def push() -> None:
            ref = small.ref()
            for index in range(60):
                pushed = ref.push(WORK, index)
                if chance.random() < 0.3:
                    await pushed
            await pushed

        async def consume() -> None:
            ref = small.ref()
            while len(done) < 60:
                try:
                    item = await ref.pull(WORK, timeout_s=0.02)
                except TimeoutError:
                    continue
                assert await ref.ack(item)
                assert isinstance(item.value, int)
                done.append(item.value)

        async def kill() -> None:
            for _ in range(3):
                for _ in range(chance.randrange(600)):
                    await asyncio.sleep(0)
                await small.broker().sweep()
                await small.restart()

        async with asyncio.timeout(60):
            await asyncio.gather(push(), consume(), consume(), kill())
        await small.broker().sweep()
        assert len(await small.journal.streams()) <= 2
    assert sorted(done) == list(range(60))


def test_a_segments_name_says_what_it_holds() -> None:
    key = SegmentKey("topic", "e1", 7, NEWS)
    assert SegmentKey.parse(str(key)) == key


@pytest.mark.parametrize("is_durable", [True, False])
async def test_a_deleted_topic_is_gone_for_good_and_each_of_its_readers_is_told(
    tmp_path: Path, is_durable: bool
) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", is_durable=is_durable),)) as small:
        refs = [small.ref() for _ in range(3)]
        subscriptions = [await ref.subscribe(topic) for ref in refs for topic in (NEWS, TopicId("other"))]
        assert await refs[0].delete(TopicId("nothing")) is False
        for index in range(3):
            await refs[0].publish(NEWS, index)
        await read(subscriptions[0], 3)
        assert await refs[1].delete(NEWS) is True
        assert await refs[1].delete(NEWS) is False
        for subscription in subscriptions[::2]:
            with pytest.raises(TopicNotFound, match="'news' was deleted"):
                await read(subscription, 4)
        assert [ref.num_subscriptions for ref in refs] == [1, 1, 1]
        await refs[0].publish(TopicId("other"), "still there")
        assert [(await other.recv(60)).position for other in subscriptions[1::2]] == [0, 0, 0]
        await small.restart()
        assert NEWS not in {info.topic for info in await refs[0].topics(NEWS.owner)}
        assert (await refs[0].publish(NEWS, "anew")).position == 0


async def test_a_message_that_comes_while_its_topic_is_deleted_is_not_found_later(
    small: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, late = small.ref(), []
    await ref.publish(NEWS, "early")
    real = small.journal.delete

    async def delete(key: str, epoch: int | None = None) -> None:
        late.append(ref.publish(NEWS, "late"))
        await asyncio.sleep(0.05)
        await real(key, epoch)

    monkeypatch.setattr(small.journal, "delete", delete)
    assert await ref.delete(NEWS) is True
    with pytest.raises(TopicNotFound):
        await late[0]
    await small.restart()
    assert await ref.topics(NEWS.owner) == ()


async def test_an_item_whose_acknowledgement_was_not_answered_is_acknowledged_again_after_the_brokers_death(
    small: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Segments, "MAX_RECORDS", 2)
    ref = small.ref()
    await ref.push(WORK, "first")
    item = await ref.pull(WORK)
    assert await ref.ack(item)
    await ref.push(WORK, "second, in another segment")
    await small.broker().sweep()
    await small.restart()
    assert await ref.ack(item)
