"""The broker as Ray runs it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import ray

from actors.calls.scope import Scope
from actors.calls.socket_server import listen
from actors.calls.started import Started
from actors.journal.stores import store_of
from actors.settings import BrokerSettings, JournalSettings
from actors.topics.broker import Broker
from actors.topics.shard_ref import BROKER_CALLS
from api.errors import GreenroomError
from api.logs import event_logger, start_logging

log = event_logger("greenroom.broker")


class HostedBroker:
    """One shard of the broker in an actor of its own; Ray restarts it when it dies.

    It writes what is durable itself, to a store that all shards share.
    """

    SWEEP_INTERVAL_S = 1.0

    def __init__(self, settings: BrokerSettings, shard: int, journal: JournalSettings) -> None:
        start_logging()
        self._journal = store_of(journal, "topics")
        self._broker = Broker(settings, self._journal, time.time, shard, _leave)
        self._started = Started(self._start)
        self._scope = Scope()

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
