"""The site that the browser tests visit: the page over a cluster in memory, or one that is served already."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from api.cluster import Cluster
from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_turn import Pace
from tests.api.live_server import serving
from tests.api.toy_model import EOS, letters

LIVE_URL = os.environ.get("GREENROOM_PAGE_URL")
LIVE_RESTART = os.environ.get("GREENROOM_PAGE_RESTART")
ANSWER_TOKENS = 60
LONG_QUESTION = "Count from one to one hundred."


class SteadyPace(Pace):
    """One token every so many seconds, as a real model has it, until it is held."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def step(self) -> None:
        """Wait for leave to sample one token."""
        if self._permits is None:
            await asyncio.sleep(self._seconds)
        else:
            await super().step()


def ending_letters(context: Sequence[int]) -> int:
    """The toy model's letters; an answer ends where the context's length is a multiple of 60, a long one of 1,200."""
    is_long = LONG_QUESTION.encode() in bytes(min(token, 255) for token in context)
    length = 20 * ANSWER_TOKENS if is_long else ANSWER_TOKENS
    return EOS if len(context) % length == 0 else letters(context)


@dataclass
class Site:
    """Where the page is.

    Attributes:
        restart: stops the server, and starts it again in the same place.
        slow_model: the model that answers the slow and the long question; None is the first one.
        slow_question: something that is answered at some length.
        long_question: something that is not answered before the reader has had time to stop it.
    """

    base_url: str
    restart: Callable[[], Awaitable[None]]
    slow_model: str | None = None
    slow_question: str = "Count from one to twenty."
    long_question: str = LONG_QUESTION


class Restartable:
    """An application's server that can be stopped and started in one place."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self._running = AsyncExitStack()
        self._port = 0
        self.base_url = ""

    async def start(self) -> None:
        """Listen; the first time on a free port, then on the same."""
        self.base_url = await self._running.enter_async_context(serving(self._app, self._port))
        self._port = int(self.base_url.rpartition(":")[2])

    async def stop(self) -> None:
        """End every connection and stop listening."""
        await self._running.aclose()

    async def restart(self) -> None:
        """Stop, then start."""
        await self.stop()
        await self.start()


@asynccontextmanager
async def fake_site(cluster: Cluster, settings: ApiSettings | None = None) -> AsyncIterator[Restartable]:
    """The page over a cluster in memory."""
    server = Restartable(build_app(cluster, settings or ApiSettings()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def visited_site() -> AsyncIterator[Site]:
    """The served site that ``GREENROOM_PAGE_URL`` names, else the page over a cluster in memory.

    ``GREENROOM_PAGE_RESTART`` is a shell command that restarts the served one, and returns when it is back.
    """
    if LIVE_URL:
        yield Site(LIVE_URL.rstrip("/"), _restart_live)
        return
    cluster = FakeCluster()
    cluster.model, cluster.pace = ending_letters, SteadyPace(0.02)
    async with fake_site(cluster) as server:
        yield Site(server.base_url, server.restart)


async def _restart_live() -> None:
    assert LIVE_RESTART, "GREENROOM_PAGE_RESTART must say how"
    process = await asyncio.create_subprocess_shell(LIVE_RESTART)
    assert await process.wait() == 0
