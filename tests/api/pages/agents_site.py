"""The page for agents over a small cluster, which has an event loop of its own: its end cancels every task of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from api.threads.contract import Agents
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.api.pages.site import Restartable, fake_site


class AgentsSite:
    """Where the page is; see ``Restartable``."""

    def __init__(self, server: Restartable, loop: asyncio.AbstractEventLoop) -> None:
        self.base_url = server.base_url
        self._server = server
        self._loop = loop

    async def stop(self) -> None:
        """End every connection and stop listening."""
        await self._there(self._server.stop())

    async def start(self) -> None:
        """Listen again, on the same port."""
        await self._there(self._server.start())

    async def _there(self, call: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


async def _delete_threads(agents: Agents) -> None:
    """A tool that waits for an answer would keep the test's process from ending."""
    for thread in await agents.threads(""):
        await (await agents.thread(thread.id, "")).delete()


@asynccontextmanager
async def agents_site(folder: Path) -> AsyncIterator[AgentsSite]:
    """The page over the agents of ``tests.actors.threads.agents``."""
    here = asyncio.get_running_loop()
    begun: asyncio.Future[tuple[AgentsSite, asyncio.Event]] = here.create_future()

    async def serve() -> None:
        async with scripted_cluster(folder) as small, fake_site(small.greenroom) as server:
            is_over = asyncio.Event()
            site = AgentsSite(server, asyncio.get_running_loop())
            here.call_soon_threadsafe(begun.set_result, (site, is_over))
            await is_over.wait()
            await _delete_threads(small.greenroom.agents)

    serving = asyncio.create_task(asyncio.to_thread(asyncio.run, serve()))
    await asyncio.wait((serving, begun), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    site, is_over = begun.result()
    try:
        yield site
    finally:
        site._loop.call_soon_threadsafe(is_over.set)
        await serving
