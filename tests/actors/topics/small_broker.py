"""The broker's actors as plain objects on one event loop, each of which a test can kill, with their references."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from actors.journal.sqlite import SqliteJournal
from actors.settings import BrokerSettings
from actors.topics.broker import Broker
from actors.topics.messages import shard_of
from actors.topics.ref import BrokerRef
from api.names import TopicId
from tests.actors.small_cluster import Loopback, cancel_others


class _Host:
    """Stands for the actor's own class."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.num_calls = 0

    async def call(self, method: str, arguments: Any) -> Any:
        """A call of the broker; what it is given and what it answers crosses a process."""
        self.num_calls += 1
        return await getattr(self.broker, method)(*arguments)


class SmallBroker:
    """Everything but Ray. Time stands still, except for what a test adds to ``passed_s``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = BrokerSettings(**{"poll_interval_s": 0.0, **settings})
        self.journal = SqliteJournal(folder / "topics.db", "NORMAL")
        self.passed_s = 0.0
        self._began = time.time()
        self.actors = [Loopback(None, f"broker-{shard}") for shard in range(self.settings.num_shards)]

    async def __aenter__(self) -> SmallBroker:
        await self.journal.start()
        for shard in range(len(self.actors)):
            await self.start(shard)
        return self

    async def __aexit__(self, *error: object) -> None:
        while self.journal._committing:
            await self.journal._committing
        await cancel_others()
        await self.journal.stop()

    def ref(self, timeout_s: float = 10.0) -> BrokerRef:
        """The reference of one more process."""
        return BrokerRef(self.actors, timeout_s)

    def broker(self, name: str = "", owner: str = "") -> Broker:
        """The broker, or that of a topic."""
        shard = shard_of(TopicId(name, owner), len(self.actors)) if name else 0
        broker: Broker = self.actors[shard].target.broker
        return broker

    def kill(self, shard: int = 0) -> None:
        """Like kill -9."""
        self.actors[shard].kill()

    async def start(self, shard: int = 0) -> None:
        """Start it, or start it again, with nothing in its memory."""
        broker = Broker(self.settings, self.journal, self._now, shard)
        await broker.start()
        self.actors[shard].revive(_Host(broker))

    async def restart(self, shard: int = 0) -> None:
        """Kill it and start another."""
        self.kill(shard)
        await self.start(shard)

    def _now(self) -> float:
        return self._began + self.passed_s
