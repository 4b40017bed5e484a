"""The polls of a process: whatever order their answers come in, every subscription gets every message once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from actors.topics.incoming import Incoming
from actors.topics.messages import Batch, Entry, PollReply, Progress, Subscribed, SubscribeRequest
from actors.topics.subscription import BrokerSubscription
from api.names import TopicId
from api.topics import TopicMessage
from api.values import encode
from tests.actors.topics.small_broker import SmallBroker

NEWS = TopicId("news")


class ScriptedShard:
    """A broker actor whose topic grows by a message a poll, and whose answers take as long as chance wants.

    What it answers lies between the state at the call and the state at the answer, as with polls that overlap.
    """

    def __init__(self, length: int, seed: int) -> None:
        self._entries: list[Entry] = [(position, 0.0, encode(position)) for position in range(length)]
        self._end = 0
        self._chance = random.Random(seed)

    async def subscribe(self, reader_id: str, requests: Sequence[SubscribeRequest]) -> tuple[Subscribed, ...]:
        """From the beginning."""
        return tuple(Subscribed("e", 0, False, False) for _ in requests)

    async def unsubscribe(self, reader_id: str, done: Mapping[str, int]) -> None:
        """Nothing."""

    async def poll(self, reader_id: str, progress: Mapping[str, Progress], wait_s: float) -> PollReply:
        """One more message, now or later."""
        await self._pass_time()
        self._end = min(self._end + 1, len(self._entries))
        batches = {
            key: Batch("e", place.next, self._entries[place.next : self._end])
            for key, place in progress.items()
            if place.next is not None and place.next < self._end
        }
        await self._pass_time()
        return PollReply(batches)

    async def _pass_time(self) -> None:
        for _ in range(self._chance.randrange(5)):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(30))
async def test_subscriptions_that_come_at_any_moment_get_every_message_once(seed: int) -> None:
    chance = random.Random(seed)
    incoming = Incoming(ScriptedShard(30, seed), "reader")  # type: ignore[arg-type]
    subscriptions: list[BrokerSubscription] = []

    async def follow() -> list[int]:
        for _ in range(chance.randrange(15)):
            await asyncio.sleep(0)
        subscription = await incoming.subscribe(SubscribeRequest("", NEWS))
        subscriptions.append(subscription)
        positions = []
        for _ in range(30):
            event = await subscription.recv()
            assert isinstance(event, TopicMessage), event
            positions.append(event.position)
            if chance.random() < 0.2:
                incoming.poll_soon()
        return positions

    followed = await asyncio.wait_for(asyncio.gather(*(follow() for _ in range(6))), 30)
    assert followed == [list(range(30))] * 6
    for subscription in subscriptions:
        await subscription.close()
    assert incoming.num_subscriptions == 0


async def test_a_poll_ends_the_one_before_it(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path) as small:
        broker = small.broker()
        (subscribed,) = await broker.subscribe("reader", [SubscribeRequest("s", NEWS)])
        assert isinstance(subscribed, Subscribed)
        progress = {"s": Progress(0, 0)}
        first = asyncio.create_task(broker.poll("reader", progress, 60.0))
        await asyncio.sleep(0)
        second = asyncio.create_task(broker.poll("reader", progress, 60.0))
        assert await asyncio.wait_for(first, 30) == PollReply({})
        assert not second.done()
        await small.ref().publish(NEWS, "a")
        assert list((await asyncio.wait_for(second, 30)).batches) == ["s"]


async def test_many_messages_come_in_batches_and_a_single_one_at_once(tmp_path: Path) -> None:
    async with SmallBroker(tmp_path, poll_interval_s=0.4) as small:
        ref = small.ref()
        subscription = await ref.subscribe(NEWS)
        loop = asyncio.get_running_loop()
        await ref.publish(NEWS, "one")
        began = loop.time()
        await subscription.recv(60)
        assert loop.time() - began < 0.4
        num_calls = small.actors[0].target.num_calls
        for index in range(100):
            await ref.publish(NEWS, index)
        for _ in range(100):
            await subscription.recv(60)
        assert small.actors[0].target.num_calls - num_calls < 100 + 10
