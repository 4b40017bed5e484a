"""Two clusters that fill the Protocols of ``api.cluster``: the real one without Ray, and the routes' fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.cluster import Cluster
from api.inferlet_events import Completed, Message
from api.inferlets import InferletHandle
from api.values import Value
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_inferlets import FakeInferlet

MAX_QUEUED, MAX_SESSIONS = 2, 5

ECHO = """
from api.inferlet import Args, inferlet, recv, send

@inferlet
async def main(args: Args) -> object:
    while (message := await recv()) != "exit":
        send(message)
    return list(args.argv)
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A cluster, and what a test does to it from below.

    Attributes:
        hold: from now on turns make no tokens, until ``release``.
        echo: an inferlet of ``ECHO`` does what it is meant to after this message was sent.
    """

    cluster: Cluster
    hold: Callable[[], None]
    release: Callable[[], None]
    echo: Callable[[InferletHandle, Value], None]


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[Side]:
    """Directory, journal, broker, model actor, sessions and programs as they are, on one event loop."""
    async with SmallBroker(folder) as broker:
        small = SmallCluster(folder, topics=broker.ref(), max_queued_turns=MAX_QUEUED, max_sessions=MAX_SESSIONS)
        async with small:
            hold = small.engines[0].hold
            yield Side(small.greenroom, hold.clear, hold.set, lambda inferlet, message: None)


@asynccontextmanager
async def fake(folder: Path) -> AsyncIterator[Side]:
    """Lists in memory."""
    cluster = FakeCluster(max_queued_turns=MAX_QUEUED, max_sessions=MAX_SESSIONS)
    yield Side(cluster, cluster.pace.hold, cluster.pace.release, _echo)


def _echo(inferlet: InferletHandle, message: Value) -> None:
    assert isinstance(inferlet, FakeInferlet)
    position = len(inferlet.log)
    inferlet.add(Completed(position, list(inferlet.arguments)) if message == "exit" else Message(position, message))
