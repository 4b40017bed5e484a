"""The promises of topics, through references, over a broker that a test can kill."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from actors.settings import QueueSettings, TopicSettings
from actors.topics.messages import SubscribeRequest
from actors.topics.ref import BrokerRef
from actors.topics.subscription import BrokerSubscription
from api.errors import Closed, TooBusy, TooLarge
from api.names import MessageKey, TopicId
from api.topics import Cursor, Lagged, NewEpoch, Subscription, TopicEvent, TopicMessage, Topics
from api.values import Value
from tests.actors.topics.small_broker import SmallBroker

NEWS = TopicId("news", "ada")


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[SmallBroker]:
    async with SmallBroker(tmp_path) as small:
        yield small


async def read(subscription: BrokerSubscription, count: int) -> list[Value]:
    """The values of the next messages; anything else fails."""
    values = []
    for _ in range(count):
        event = await subscription.recv(60)
        assert isinstance(event, TopicMessage), event
        values.append(event.value)
    return values


async def publish(ref: BrokerRef, topic: TopicId, *values: Value) -> list[int]:
    """The positions."""
    return [published.position for published in await asyncio.gather(*(ref.publish(topic, value) for value in values))]


async def settle() -> None:
    """Let everything that is ready happen."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_reference_is_what_programs_and_routes_ask_for(small: SmallBroker) -> None:
    topics: Topics = small.ref()
    subscription: Subscription = await topics.subscribe(NEWS)
    await subscription.close()


async def test_ten_subscribers_get_a_thousand_messages_each_all_in_order(small: SmallBroker) -> None:
    refs = [small.ref() for _ in range(3)]
    subscriptions = [await refs[index % 3].subscribe(NEWS) for index in range(10)]
    reading = asyncio.gather(*(read(subscription, 1000) for subscription in subscriptions))
    publisher = small.ref()
    for index in range(1000):
        published = publisher.publish(NEWS, index)
        if index % 100 == 0:
            await published
    assert await reading == [list(range(1000))] * 10


async def test_what_is_published_in_one_tick_goes_as_one_batch(small: SmallBroker) -> None:
    ref = small.ref()
    assert await publish(ref, NEWS, *range(500)) == list(range(500))
    assert small.actors[0].target.num_calls == 1


async def test_a_publisher_may_come_first(small: SmallBroker) -> None:
    await publish(small.ref(), NEWS, "a", "b")
    async with await small.ref().subscribe(NEWS) as subscription:
        assert await read(subscription, 2) == ["a", "b"]


async def test_a_subscriber_may_come_first(small: SmallBroker) -> None:
    async with await small.ref().subscribe(NEWS) as subscription:
        reading = asyncio.create_task(read(subscription, 2))
        await settle()
        published = await small.ref().publish(NEWS, "a")
        assert (published.position, published.num_subscribers) == (0, 1)
        await small.ref().publish(NEWS, b"b")
        assert await reading == ["a", b"b"]


async def test_without_replay_a_subscription_begins_with_the_next_message(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.publish(NEWS, "old")
    subscription = await ref.subscribe(NEWS, replay=False)
    await ref.publish(NEWS, "new")
    assert await read(subscription, 1) == ["new"]


async def test_a_hundred_timed_out_calls_lose_nothing(small: SmallBroker) -> None:
    subscription = await small.ref().subscribe(NEWS)
    ref, got, num_timeouts = small.ref(), [], 0
    while num_timeouts < 100:
        try:
            got.append(await subscription.recv(0.0001 * (num_timeouts % 5)))
        except TimeoutError:
            ref.publish(NEWS, num_timeouts)
            num_timeouts += 1
    got += [await subscription.recv(60) for _ in range(100 - len(got))]
    assert [event.value for event in got if isinstance(event, TopicMessage)] == list(range(100))


async def test_a_cancelled_call_loses_nothing(small: SmallBroker) -> None:
    subscription = await small.ref().subscribe(NEWS)
    ref, got = small.ref(), []
    for index in range(60):
        receiving = asyncio.create_task(subscription.recv())
        await ref.publish(NEWS, index)
        for _ in range(index % 20):
            await asyncio.sleep(0)
        receiving.cancel()
        try:
            got.append(await receiving)
        except asyncio.CancelledError:
            pass
    got += [await subscription.recv(60) for _ in range(60 - len(got))]
    assert [event.value for event in got if isinstance(event, TopicMessage)] == list(range(60))


async def test_a_loop_over_a_subscription_ends_when_it_is_closed(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)

    async def follow() -> list[TopicEvent]:
        return [event async for event in subscription]

    following = asyncio.create_task(follow())
    await ref.publish(NEWS, "a")
    await settle()
    await subscription.close()
    await subscription.close()
    assert [event.position for event in await following] == [0]
    with pytest.raises(Closed, match="closed"):
        await subscription.recv()


async def test_a_slow_subscriber_is_told_what_it_missed_and_slows_nobody(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", max_messages=50),)) as small:
        slow, quick = await small.ref().subscribe(NEWS), await small.ref().subscribe(NEWS)
        ref = small.ref()
        for begin in range(0, 5000, 50):
            await publish(ref, NEWS, *range(begin, begin + 50))
            assert await read(quick, 50) == list(range(begin, begin + 50))
        events = [await slow.recv(60)]
        while events[-1].position < 4999:
            events.append(await slow.recv(60))
        assert any(isinstance(event, Lagged) for event in events)
        assert sum(event.missed if isinstance(event, Lagged) else 1 for event in events) == 5000


async def test_what_a_batch_pushes_out_at_once_is_missed_with_notice(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", max_messages=10),)) as small:
        subscription = await small.ref().subscribe(NEWS)
        await publish(small.ref(), NEWS, *range(100))
        assert await subscription.recv(60) == Lagged(90, 89, (await small.ref().topics("ada"))[0].epoch)
        assert await read(subscription, 10) == list(range(90, 100))


async def test_a_message_that_is_too_old_is_missed_with_notice(small: SmallBroker) -> None:
    ref = small.ref()
    await publish(ref, NEWS, "a", "b")
    epoch = (await ref.topics("ada"))[0].epoch
    small.passed_s += 599
    await ref.publish(NEWS, "c")
    small.passed_s += 2
    await small.broker().sweep()
    subscription = await ref.subscribe(NEWS, after=Cursor(epoch, 0))
    assert await subscription.recv(60) == Lagged(1, 1, epoch)
    assert await read(subscription, 1) == ["c"]
    assert await read(await ref.subscribe(NEWS), 1) == ["c"]


async def test_where_publishers_wait_no_message_is_lost_and_one_slow_topic_holds_no_other(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("slow", max_messages=10, when_full="wait"),)) as small:
        ref, slow = small.ref(), TopicId("slow", "ada")
        subscription = await small.ref().subscribe(slow)
        publishing = [ref.publish(slow, index) for index in range(50)]
        await publish(ref, NEWS, "past it")
        await settle()
        assert sum(future.done() for future in publishing) == 10
        assert await read(subscription, 50) == list(range(50))
        assert [published.position for published in await asyncio.gather(*publishing)] == list(range(50))


async def test_a_publisher_that_waits_goes_on_when_the_slow_subscriber_leaves(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", max_messages=2, when_full="wait"),)) as small:
        subscription = await small.ref().subscribe(NEWS)
        publishing = asyncio.create_task(publish(small.ref(), NEWS, *range(3)))
        await settle()
        assert not publishing.done()
        await subscription.close()
        assert await publishing == [0, 1, 2]


async def test_where_publishers_are_refused_they_hear_it_and_the_reader_misses_nothing(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", max_messages=3, when_full="refuse"),)) as small:
        ref = small.ref()
        subscription = await small.ref().subscribe(NEWS)
        answers = await asyncio.gather(*(ref.publish(NEWS, index) for index in range(5)), return_exceptions=True)
        assert [isinstance(answer, TooBusy) for answer in answers] == [False] * 3 + [True] * 2
        assert await read(subscription, 3) == [0, 1, 2]
        await settle()
        await ref.publish(NEWS, "again")
        assert await read(subscription, 1) == ["again"]


async def test_bytes_count_too(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, topics=(TopicSettings("*", max_bytes=100, when_full="refuse"),)) as small:
        ref = small.ref()
        await small.ref().subscribe(NEWS)
        subscription = await small.ref().subscribe(NEWS)
        await ref.publish(NEWS, b"x" * 60)
        with pytest.raises(TooBusy):
            await ref.publish(NEWS, b"x" * 60)
        assert await read(subscription, 1) == [b"x" * 60]


async def test_a_second_subscription_of_one_subscriber_goes_on_from_its_place(small: SmallBroker) -> None:
    ref = small.ref()
    await publish(ref, NEWS, *range(5))
    first = await ref.subscribe(NEWS, subscriber="instance-1")
    assert await read(first, 2) == [0, 1]
    await first.close()
    second = await small.ref().subscribe(NEWS, subscriber="instance-1")
    assert await read(second, 3) == [2, 3, 4]
    assert await read(await ref.subscribe(NEWS, subscriber="instance-2"), 1) == [0]


async def test_subscribing_and_closing_three_thousand_times_leaves_nothing(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.publish(NEWS, "a")
    for index in range(3000):
        subscription = await ref.subscribe(NEWS, subscriber=f"reader-{index}" if index % 2 else None)
        await subscription.close()
    broker = small.broker()
    topic = broker._catalogue.topics[NEWS]
    assert (broker._num_subscriptions, topic.num_subscribers, ref.num_subscriptions) == (0, 0, 0)
    assert len(topic._places) <= 1024
    await settle()
    assert sum(not task.done() for task in asyncio.all_tasks()) < 5
    small.passed_s += 601
    await broker.sweep()
    assert (len(topic._places), len(topic._numbers._publishers)) == (0, 1)


async def test_a_subscription_that_nobody_refers_to_ends(small: SmallBroker) -> None:
    ref = small.ref()

    async def follow() -> None:
        async for _ in await ref.subscribe(NEWS):
            pass

    following = asyncio.create_task(follow())
    await settle()
    assert (await ref.publish(NEWS, "a")).num_subscribers == 1
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    del following
    gc.collect()
    await settle()
    assert (await ref.publish(NEWS, "b")).num_subscribers == 0


async def test_the_subscriptions_of_a_process_that_is_silent_end(small: SmallBroker) -> None:
    await small.broker().subscribe("dead-process", (SubscribeRequest("s-1", NEWS),))
    assert (await small.ref().publish(NEWS, "a")).num_subscribers == 1
    small.passed_s += 31
    await small.broker().sweep()
    assert (await small.ref().publish(NEWS, "b")).num_subscribers == 0
    assert not small.broker()._readers.is_alive("dead-process")


async def test_a_reader_that_was_taken_for_dead_goes_on_where_it_was(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)
    await ref.publish(NEWS, "a")
    assert await read(subscription, 1) == ["a"]
    broker = small.broker()
    for reader in broker._readers._readers.values():
        for subscription_id in list(reader.subscriptions):
            broker._end(reader, subscription_id)
        reader.wake()
    broker._readers._readers.clear()
    await ref.publish(NEWS, "b")
    subscription._on_taken()
    assert await read(subscription, 1) == ["b"]


async def test_after_the_brokers_death_readers_learn_of_the_new_epoch_and_go_on(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await small.ref().subscribe(NEWS)
    await publish(ref, NEWS, "a", "b")
    assert await read(subscription, 1) == ["a"]
    await settle()
    await small.restart()
    assert await read(subscription, 1) == ["b"]
    assert isinstance(await subscription.recv(60), NewEpoch)
    await ref.publish(NEWS, "c")
    event = await subscription.recv(60)
    assert isinstance(event, TopicMessage)
    assert (event.value, event.position) == ("c", 0)


async def test_a_place_in_an_epoch_that_is_over_begins_with_the_oldest_and_notice(small: SmallBroker) -> None:
    ref = small.ref()
    await publish(ref, NEWS, "a", "b")
    subscription = await ref.subscribe(NEWS, after=Cursor("long-ago", 77))
    event = await subscription.recv(60)
    assert isinstance(event, NewEpoch)
    assert event.epoch == (await ref.topics("ada"))[0].epoch
    assert await read(subscription, 2) == ["a", "b"]


async def test_a_topic_that_was_forgotten_never_repeats_a_position_in_its_epoch(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)
    await ref.publish(NEWS, "a")
    place = (await subscription.recv(60)).cursor
    await subscription.close()
    small.passed_s += 601
    await small.broker().sweep()
    small.passed_s += 601
    await small.broker().sweep()
    assert await ref.topics("ada") == ()
    await ref.publish(NEWS, "b")
    again = await ref.subscribe(NEWS, after=place)
    assert isinstance(await again.recv(60), NewEpoch)
    assert await read(again, 1) == ["b"]


async def test_a_number_that_a_publisher_gave_before_is_the_same_message(small: SmallBroker) -> None:
    first, second = small.ref(), small.ref()
    for ref in (first, second):
        answers = await asyncio.gather(*(ref.publish(NEWS, n, MessageKey("instance-1", n)) for n in range(3)))
        assert [answer.position for answer in answers] == [0, 1, 2]
    await second.publish(NEWS, "new", MessageKey("instance-1", 3))
    assert await read(await first.subscribe(NEWS), 4) == [0, 1, 2, "new"]


async def test_topics_are_their_owners_unless_they_are_public(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.publish(TopicId("news", "ada"), "of ada")
    await ref.publish(TopicId("news", "bob"), "of bob")
    await ref.publish(TopicId("public/news", "ada"), "for all")
    assert await read(await ref.subscribe(TopicId("news", "bob")), 1) == ["of bob"]
    assert await read(await ref.subscribe(TopicId("public/news", "bob")), 1) == ["for all"]
    assert [info.topic for info in await ref.topics("bob")] == [TopicId("news", "bob"), TopicId("public/news")]


async def test_limits_are_said_clearly(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, max_topics=3, max_topics_per_owner=2, max_subscriptions=1) as small:
        ref = small.ref()
        with pytest.raises(TooLarge, match="1048576 bytes"):
            ref.publish(NEWS, "x" * (1 << 20) + "x")
        await ref.publish(NEWS, "x" * (1 << 20))
        await ref.push(TopicId("queue", "ada"), 1)
        with pytest.raises(TooBusy, match="this owner has 2 topics and queues"):
            await ref.publish(TopicId("third", "ada"), 1)
        await ref.publish(TopicId("third", "bob"), 1)
        with pytest.raises(TooBusy, match="3 topics and queues"):
            await ref.subscribe(TopicId("fourth", "eve"))
        subscription = await ref.subscribe(NEWS)
        with pytest.raises(TooBusy, match="1 subscriptions"):
            await ref.subscribe(NEWS)
        await subscription.close()
        await ref.subscribe(NEWS)


async def test_topics_are_spread_over_shards_and_listed_as_one(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, num_shards=3) as small:
        ref, names = small.ref(), [f"topic-{index}" for index in range(12)]
        subscriptions = [await ref.subscribe(TopicId(name)) for name in names]
        for name in names:
            await ref.publish(TopicId(name), name)
        assert [await read(subscription, 1) for subscription in subscriptions] == [[name] for name in names]
        assert [info.topic.name for info in await ref.topics("")] == sorted(names)
        assert all(actor.target.broker._catalogue.topics for actor in small.actors)


async def test_a_reader_that_does_not_read_holds_little(small: SmallBroker) -> None:
    ref = small.ref()
    subscription = await ref.subscribe(NEWS)
    for _ in range(40):
        await publish(ref, NEWS, *range(250))
        await settle()
    assert len(subscription._events) <= 3000
    num_events = 0
    while subscription._done < 10_000:
        event = await subscription.recv(60)
        num_events += event.missed if isinstance(event, Lagged) else 1
    assert num_events == 10_000


async def test_a_place_before_the_beginning_is_the_beginning(small: SmallBroker) -> None:
    ref = small.ref()
    await ref.publish(NEWS, "first")
    subscription = await ref.subscribe(NEWS, after=Cursor("", -7))
    assert await read(subscription, 1) == ["first"]


async def test_many_large_messages_to_some_topics_do_not_hold_up_another(small: SmallBroker) -> None:
    ref = small.ref()
    done: list[object] = []
    large = [ref.publish(topic, "x" * (1 << 20)) for _ in range(12) for topic in (NEWS, TopicId("more"))]
    light = ref.publish(TopicId("other"), "y")
    for future in (*large, light):
        future.add_done_callback(done.append)
    await asyncio.gather(*large, light)
    await settle()
    assert done.index(light) <= 12, "it goes with the second batch"


async def test_new_limits_count_for_topics_and_queues_that_are_there(small: SmallBroker) -> None:
    ref, work = small.ref(), TopicId("work", "ada")
    await publish(ref, NEWS, *range(10))
    await ref.push(work, 0)
    await ref.configure(replace(small.settings, topics=(TopicSettings("*", 3),), queues=(QueueSettings("*", 1),)))
    await publish(ref, NEWS, 10)
    [news] = await ref.topics("ada")
    assert (news.first, news.end) == (8, 11)
    pushing = ref.push(work, 1)
    await settle()
    assert not pushing.done(), "one item is all that it holds"
    await ref.configure(replace(small.settings, queues=(QueueSettings("*", 2),)))
    async with asyncio.timeout(30):
        assert (await pushing).position == 1


async def test_publishers_wait_only_for_subscribers_that_were_told_to_report(small: SmallBroker) -> None:
    ref, waits = small.ref(), replace(small.settings, topics=(TopicSettings("*", 2, when_full="wait"),))
    early = await ref.subscribe(NEWS)
    await ref.configure(waits)
    async with asyncio.timeout(30):
        await publish(ref, NEWS, *range(10))
        late = await small.ref().subscribe(NEWS, replay=False)
        await settle()
        publishing = [ref.publish(NEWS, number) for number in range(2000)]
        await asyncio.wait(publishing[:2])
        await settle()
        assert not publishing[-1].done()
        await ref.configure(replace(waits, topics=(TopicSettings("*", 2),)))
        await asyncio.wait(publishing)
    await early.close()
    await late.close()


async def test_a_topic_that_is_there_stays_durable_or_not(small: SmallBroker) -> None:
    ref, durable = small.ref(), TopicId("durable", "ada")
    await ref.configure(replace(small.settings, topics=(TopicSettings("durable", is_durable=True),)))
    await ref.publish(durable, 1)
    await ref.publish(NEWS, 1)
    await ref.configure(replace(small.settings, topics=(TopicSettings("news", is_durable=True),)))
    assert {info.topic: info.is_durable for info in await ref.topics("ada")} == {durable: True, NEWS: False}
    await ref.delete(NEWS)
    await ref.publish(NEWS, 1)
    assert {info.topic: info.is_durable for info in await ref.topics("ada")} == {durable: True, NEWS: True}
