"""What a process reads from one broker actor: all of its subscriptions with one long poll."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace

from actors.calls.scope import Scope
from actors.topics.messages import PollReply, Progress, Subscribed, SubscribeRequest
from actors.topics.shard_ref import ShardRef
from actors.topics.subscription import BrokerSubscription
from api.errors import GreenroomError, TopicNotFound

WAIT_S = 10.0
RETRY_S = 0.1


class Incoming:
    """The subscriptions of this process, and its poll, which runs while there are any, or held items of a queue:
    its polls show that this process is alive.

    A subscription that nobody refers to any longer ends as if it had been closed.
    """

    def __init__(self, shard: ShardRef, reader_id: str) -> None:
        self._shard = shard
        self._reader_id = reader_id
        self._subscriptions: weakref.WeakValueDictionary[str, BrokerSubscription] = weakref.WeakValueDictionary()
        self._scope = Scope()
        self._num_subscribed = 0
        self._num_polls = 0
        self._is_due = False
        self._held: dict[str, float] = {}

    @property
    def num_subscriptions(self) -> int:
        """Open ones."""
        return len(self._subscriptions)

    async def subscribe(self, request: SubscribeRequest) -> BrokerSubscription:
        """A new subscription; the request's id is chosen here."""
        loop = asyncio.get_running_loop()
        self._num_subscribed += 1
        request = replace(request, subscription_id=f"{self._reader_id}-{self._num_subscribed}")
        try:
            (subscribed,) = await self._shard.subscribe(self._reader_id, (request,))
        except asyncio.CancelledError:
            self._start_unsubscribing({request.subscription_id: 0})
            raise
        if isinstance(subscribed, GreenroomError):
            raise subscribed
        subscription = BrokerSubscription(request, subscribed, self.poll_soon, self._close)
        self._subscriptions[subscription.id] = subscription
        ending = weakref.finalize(subscription, self._on_abandoned, loop, subscription.id)
        ending.atexit = False
        self.poll_soon()
        return subscription

    def hold(self, receipt: str, until: float) -> None:
        """This process has an item, until this time of the clock at most."""
        self._held[receipt] = until
        if len(self._held) == 1:
            self.poll_soon()

    def let_go(self, receipt: str) -> None:
        """It has it no longer."""
        self._held.pop(receipt, None)

    def poll_soon(self) -> None:
        """Poll anew with the state of the end of this tick; ends the poll that waits."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._poll)

    def _poll(self) -> None:
        self._is_due = False
        self._held = {receipt: until for receipt, until in self._held.items() if until > time.time()}
        if not self._subscriptions and not self._held:
            return
        progress = {key: subscription.progress() for key, subscription in self._subscriptions.items()}
        self._num_polls += 1
        self._scope.start(self._poll_once(self._num_polls, progress))

    async def _poll_once(self, number: int, progress: Mapping[str, Progress]) -> None:
        """One poll; the latest of those under way is the one that goes on."""
        try:
            reply = await self._shard.poll(self._reader_id, progress, WAIT_S)
            self._deliver(reply)
            await self._resume([self._subscriptions[key] for key in reply.unknown if key in self._subscriptions])
        except Exception as error:
            for subscription in list(self._subscriptions.values()):
                subscription.fail(error)
            await asyncio.sleep(RETRY_S)
        if number == self._num_polls:
            self.poll_soon()

    def _deliver(self, reply: PollReply) -> None:
        for key, batch in reply.batches.items():
            subscription = self._subscriptions.get(key)
            if subscription is not None:
                subscription.take(batch)
        for key in reply.deleted:
            subscription = self._subscriptions.pop(key, None)
            if subscription is not None:
                subscription.end(TopicNotFound(subscription.topic.name))

    async def _resume(self, lost: Sequence[BrokerSubscription]) -> None:
        """Subscribe again where a new broker, or one that took this process for dead, does not know of it."""
        if not lost:
            return
        answers = await self._shard.subscribe(self._reader_id, [subscription.again() for subscription in lost])
        for subscription, answer in zip(lost, answers, strict=True):
            if isinstance(answer, Subscribed):
                subscription.resumed(answer)
            else:
                subscription.fail(answer)
        closed = {subscription.id: subscription.done for subscription in lost if subscription.is_closed}
        if closed:
            await self._shard.unsubscribe(self._reader_id, closed)
        if any(isinstance(answer, GreenroomError) for answer in answers):
            await asyncio.sleep(RETRY_S)

    async def _close(self, subscription: BrokerSubscription) -> None:
        self._subscriptions.pop(subscription.id, None)
        await self._shard.unsubscribe(self._reader_id, {subscription.id: subscription.done})

    def _on_abandoned(self, loop: asyncio.AbstractEventLoop, subscription_id: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._start_unsubscribing, {subscription_id: 0})

    def _start_unsubscribing(self, done: Mapping[str, int]) -> None:
        self._scope.start(self._unsubscribe(done))

    async def _unsubscribe(self, done: Mapping[str, int]) -> None:
        try:
            await self._shard.unsubscribe(self._reader_id, done)
        except GreenroomError:
            return  # it ends there when this process does
