"""A program's places in topics, over lives of which one may end between a message and its record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.calls.scope import Scope
from actors.inferlets.topics import Exchange
from api.errors import TopicNotFound
from api.inferlet.effects import NextTopicEvent
from api.names import TopicId
from api.topics import NewEpoch, TopicEvent, TopicMessage
from tests.actors.topics.small_broker import SmallBroker

TOPIC = TopicId("topic")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SmallBroker]:
    async with SmallBroker(tmp_path) as broker:
        yield broker


def value(event: TopicEvent | None) -> object:
    assert isinstance(event, TopicMessage)
    return event.value


@pytest.mark.parametrize("replay", [True, False])
async def test_a_message_whose_reader_died_before_it_was_recorded_comes_again(
    broker: SmallBroker, replay: bool
) -> None:
    ref, life = broker.ref(), Exchange("id", "", broker.ref(), Scope())
    place = await life.begin("topic", replay)
    for number in range(3):
        await ref.publish(TOPIC, number)
    assert [value(await life.next_event(NextTopicEvent("topic", place, 5))) for _ in range(2)] == [0, 0]
    await life.close()
    later = Exchange("id", "", broker.ref(), Scope())
    for number in range(3):
        event = await later.next_event(NextTopicEvent("topic", place, 5))
        assert event is not None
        assert value(event) == number
        place = event.cursor
    await later.close()
    assert (await ref.publish(TOPIC, "last")).num_subscribers == 0


async def test_a_topic_that_was_deleted_is_read_on_as_another_one(broker: SmallBroker) -> None:
    ref, exchange = broker.ref(), Exchange("id", "", broker.ref(), Scope())
    place = await exchange.begin("topic", True)
    await ref.publish(TOPIC, "old")
    first = await exchange.next_event(NextTopicEvent("topic", place, 5))
    assert first is not None
    await ref.delete(TOPIC)
    with pytest.raises(TopicNotFound):
        await exchange.next_event(NextTopicEvent("topic", first.cursor, 5))
    await ref.publish(TOPIC, "new")
    news = await exchange.next_event(NextTopicEvent("topic", first.cursor, 5))
    assert isinstance(news, NewEpoch)
    assert value(await exchange.next_event(NextTopicEvent("topic", news.cursor, 5))) == "new"
    await exchange.close()
