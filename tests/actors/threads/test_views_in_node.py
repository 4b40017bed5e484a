"""Threads in AG-UI's own client, whose verifier refuses what is out of order, and in the AI SDK's own chat."""

from __future__ import annotations

import asyncio

import pytest

from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import calling
from tests.clients.catalogue import SCRIPTS, Client
from tests.clients.installation import CACHE, Installation
from tests.clients.results import run

VIEWS = Client("agent_views", "AG-UI's client, AI SDK UI", SCRIPTS / "agent_views" / "run.mjs")


@pytest.mark.heavy
@pytest.mark.timeout(900)
async def test_their_clients_find_nothing_wrong(small: SmallCluster) -> None:
    async with calling(small) as caller:
        url = str(caller.http.base_url).rstrip("/")
        result = await asyncio.to_thread(run, VIEWS, Installation(CACHE), url, "helper")
    assert result.failures == ()
    assert len(result.found) == 11
