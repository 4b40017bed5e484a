"""The broker as Ray runs it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.metrics import Gauge

from actors.calls.latest import latest
from actors.calls.scope import Scope
from actors.calls.socket_server import listen
from actors.calls.started import Started
from actors.journal.stores import store_of
from actors.settings import BrokerSettings, JournalSettings
from actors.topics.broker import Broker, BrokerLoad
from actors.topics.shard_ref import BROKER_CALLS
from api.errors import GreenroomError
from api.logs import event_logger, start_logging

log = event_logger("greenroom.broker")


class BrokerMetrics:
    """What an operator watches of one shard of the broker."""

    def __init__(self, shard: int) -> None:
        def gauge(name: str, description: str, *tags: str) -> Gauge:
            metric = Gauge(f"greenroom_{name}", description, tag_keys=("shard", *tags))
            metric.set_default_tags({"shard": str(shard)})
            return metric

        self._topics = gauge("topics", "Topics that there are")
        self._queues = gauge("queues", "Queues that there are")
        self._subscriptions = gauge("topic_subscriptions", "Subscriptions to topics")
        self._lag = gauge("topic_lag_messages", "What the slowest subscriber has not handed out yet")
        self._items = gauge("queue_items", "Items of queues, by state", "state")

    def load(self, load: BrokerLoad) -> None:
        """What the shard has, now."""
        self._topics.set(load.num_topics)
        self._queues.set(load.num_queues)
        self._subscriptions.set(load.num_subscriptions)
        self._lag.set(load.lag)
        self._items.set(load.num_ready_items, tags={"state": "ready"})
        self._items.set(load.num_held_items, tags={"state": "held"})


class HostedBroker:
    """One shard of the broker in an actor of its own; Ray restarts it when it dies.

    It writes what is durable itself, to a store that all shards share.
    """

    SWEEP_INTERVAL_S = 1.0

    def __init__(self, settings: BrokerSettings, shard: int, journal: JournalSettings) -> None:
        start_logging()
        last = latest()
        self._journal = store_of(journal, "topics")
        self._broker = Broker(last.broker if last else settings, self._journal, time.time, shard, _leave)
        self._started = Started(self._start)
        self._scope = Scope()
        self._metrics = BrokerMetrics(shard)

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``ShardRef``."""
        await self._started()
        return await BROKER_CALLS.dispatch(self._broker, method, arguments)

    async def _start(self) -> None:
        await self._journal.start()
        await self._broker.start()
        await listen(self.call)
        self._scope.start(self._sweep())

    async def _sweep(self) -> None:
        while True:
            self._metrics.load(self._broker.load)
            await asyncio.sleep(self.SWEEP_INTERVAL_S)
            try:
                await self._broker.sweep()
            except GreenroomError as error:
                log.warning("the broker could not tidy up", error=str(error))


def _leave() -> None:
    """Another broker has taken over: this process must not answer any longer."""
    log.warning("another broker has taken over")
    os._exit(1)


BrokerActor = ray.remote(HostedBroker)
