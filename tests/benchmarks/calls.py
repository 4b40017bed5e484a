"""What a call between two actors of one machine costs: over a socket, as ours are, and through Ray.

``python -m tests.benchmarks.calls``
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from rich.console import Console
from rich.table import Table

from actors.calls.interface import Interface
from actors.calls.ray import ask, call
from actors.calls.socket_server import listen
from tests.benchmarks.report import printed
from tests.cluster.own_ray import start_ray

NUM_CALLS = 300
NUM_ROUNDS = 3
PAYLOAD = tuple(range(64))
GAPS = {"now and then (20 ms apart)": 0.02, "one behind the other": 0.0}


def cpu_s() -> float:
    """Of this process."""
    times = os.times()
    return times.user + times.system


class Callee:
    """Answers."""

    async def start(self) -> None:
        """Be called over a socket too."""
        await listen(self.call)

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """One of the calls."""
        return await CALLS.dispatch(self, method, arguments)

    async def echo(self, value: Any) -> Any:
        """The same."""
        return value

    async def cpu_s(self) -> float:
        """Of its process."""
        return cpu_s()


CALLS = Interface(Callee)


class Caller:
    """Asks."""

    async def ask(self, callee: Any, is_local: bool, gap_s: float) -> tuple[float, float]:
        """Median seconds a call takes; seconds of processor for each, of both processes."""
        taken = []
        echo = CALLS.ref(partial(call, callee)).echo
        before = cpu_s() + await ask(callee.cpu_s.remote())
        num_calls = NUM_CALLS if gap_s else 10 * NUM_CALLS
        for _ in range(num_calls):
            began = time.perf_counter()
            await (echo(PAYLOAD) if is_local else ask(callee.echo.remote(PAYLOAD)))
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(gap_s)
        used = cpu_s() + await ask(callee.cpu_s.remote()) - before
        return statistics.median(taken), used / num_calls


def main() -> None:
    """Measure, in turns."""
    os.environ["RAY_event_stats"] = "0"
    start_ray(num_cpus=2)
    options = {"num_cpus": 0, "enable_task_events": False, "max_concurrency": 100}
    callee, caller = (ray.remote(each).options(**options).remote() for each in (Callee, Caller))
    ray.get(callee.start.remote())
    table = Table("calls", "processor time, of Ray's", "ms", "Ray's", "latency, of Ray's", "ms", "Ray's", title="Calls")
    with printed(table, Console(width=140)):
        for what, gap_s in GAPS.items():
            rounds = [
                ray.get([caller.ask.remote(callee, is_local, gap_s)])[0]
                for _ in range(NUM_ROUNDS)
                for is_local in (True, False)
            ]
            ours, rays = (
                [statistics.median(column) * 1e3 for column in zip(*rounds[way::2], strict=True)] for way in (0, 1)
            )
            columns = [(f"{ours[at] / rays[at]:.2f}", f"{ours[at]:.2f}", f"{rays[at]:.2f}") for at in (1, 0)]
            table.add_row(what, *columns[0], *columns[1])
    ray.shutdown()


if __name__ == "__main__":
    main()
