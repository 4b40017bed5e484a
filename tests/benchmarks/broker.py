"""The broker beside Redis: publish→receive latency, and messages delivered in a second, at 1, 10 and 100 subscribers.

``python -m tests.benchmarks.broker [--subscribers N ...] [--deliveries N]``

Needs Debian's ``redis-server``, which it starts on a free port without persistence. Subscribers are spread over two
processes; the publisher is a third. Every message is a text of 100 bytes. Latency: one message every 5 ms. Throughput:
messages are published as fast as they are accepted, Redis's in pipelines of 500.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import redis
from rich.console import Console
from rich.table import Table

from actors.cluster.greenroom import Greenroom
from actors.settings import BrokerSettings, ClusterSettings, JournalSettings, SessionSettings, TopicSettings
from tests.benchmarks.bus import BUSES, Bus, open_bus
from tests.benchmarks.report import printed, require
from tests.cluster.own_ray import start_ray
from tests.redis_server import redis_server

NUM_PROCESSES = 2
NUM_SPACED, SPACING_S = 200, 0.005
BATCH = 500


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one bus; latencies in seconds."""

    median_s: float
    p95_s: float
    delivered_per_s: float


class Readers:
    """Subscribers in a process of their own."""

    async def subscribe(self, name: str, address: str, topic: str, count: int) -> None:
        """Open so many, each of which reads from now on."""
        self._bus = await open_bus(name, address)
        self._readers = [await self._bus.subscribe(topic) for _ in range(count)]

    async def read(self, num_messages: int) -> tuple[list[float], float]:
        """Latencies of all messages, and when the last one came, on the clock."""
        latencies = await asyncio.gather(*(self._read_one(reader, num_messages) for reader in self._readers))
        return [latency for each in latencies for latency in each], time.time()

    async def close(self) -> None:
        """Close them."""
        await self._bus.close()

    async def _read_one(self, reader: Any, num_messages: int) -> list[float]:
        latencies: list[float] = []
        async for text in reader:
            latencies.append(time.time() - float(text[:20]))
            if len(latencies) == num_messages:
                break
        return latencies


def message() -> str:
    """A text of 100 bytes that begins with the time."""
    return f"{time.time():<20.6f}".ljust(100, ".")


async def publish_spaced(bus: Bus, topic: str) -> None:
    """One message at a time."""
    for _ in range(NUM_SPACED):
        await bus.publish(topic, [message()])
        await asyncio.sleep(SPACING_S)


async def publish_fast(bus: Bus, topic: str, num_messages: int) -> None:
    """All, in batches."""
    for begin in range(0, num_messages, BATCH):
        await bus.publish(topic, [message() for _ in range(min(BATCH, num_messages - begin))])


async def measure(name: str, address: str, num_subscribers: int, num_messages: int) -> Row:
    """Both measurements of one bus."""
    processes = [ray.remote(Readers).options(num_cpus=0).remote() for _ in range(min(NUM_PROCESSES, num_subscribers))]
    counts = [len(range(index, num_subscribers, len(processes))) for index in range(len(processes))]
    bus, topic = await open_bus(name, address), f"public/{name}/{num_subscribers}"
    await asyncio.gather(
        *(each.subscribe.remote(name, address, topic, count) for each, count in zip(processes, counts, strict=True))
    )
    spaced = [each.read.remote(NUM_SPACED) for each in processes]
    await publish_spaced(bus, topic)
    latencies = [latency for found, _ in await asyncio.gather(*spaced) for latency in found]
    fast = [each.read.remote(num_messages) for each in processes]
    began = time.time()
    await publish_fast(bus, topic, num_messages)
    ended = max(end for _, end in await asyncio.gather(*fast))
    await asyncio.gather(*(each.close.remote() for each in processes))
    await bus.close()
    for each in processes:
        ray.kill(each)
    p95_s = statistics.quantiles(latencies, n=20)[-1]
    return Row(statistics.median(latencies), p95_s, num_subscribers * num_messages / (ended - began))


async def benchmark(table: Table, address: str, subscribers: list[int], num_deliveries: int, folder: Path) -> None:
    """The rows of the table."""
    topics = (TopicSettings("*", max_messages=1_000_000, max_bytes=1 << 30),)
    broker = BrokerSettings(topics=topics)
    settings = ClusterSettings(
        (), SessionSettings(pool_size=0), broker, journal=JournalSettings(str(folder / "journal.db"))
    )
    await Greenroom.ensure(settings)
    for count in subscribers:
        rows = {name: await measure(name, address, count, num_deliveries // count) for name in BUSES}
        ours = rows[BUSES[0]].delivered_per_s
        for name, row in rows.items():
            table.add_row(
                str(count),
                name,
                f"{row.delivered_per_s / ours:.2f}",
                f"{row.delivered_per_s:,.0f}",
                f"{row.median_s * 1e3:.1f}",
                f"{row.p95_s * 1e3:.1f}",
            )


def main() -> None:
    """Start Ray and Redis, measure, end both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--deliveries", type=int, default=200_000)
    arguments = parser.parse_args()
    require(programs=["redis-server"])
    console = Console()
    table = Table("subscribers", "bus", "of ours", "delivered/s", "median ms", "p95 ms", title="Throughput and latency")
    with printed(table, console), tempfile.TemporaryDirectory() as folder, redis_server() as url:
        start_ray(num_cpus=4)
        try:
            asyncio.run(benchmark(table, url, arguments.subscribers, arguments.deliveries, Path(folder)))
        finally:
            ray.shutdown()
    version = f"redis-py {redis.__version__}, Ray {ray.__version__}, Python {platform.python_version()}"
    console.print(f"{platform.processor() or platform.machine()}, {version}")


if __name__ == "__main__":
    main()
