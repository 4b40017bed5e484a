"""A server of the toy model, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api import toy_model
from tests.api.fake_cluster import TOY, FakeCluster, FakeSession
from tests.api.http.petals.client import TIMEOUT_S, PetalsClient
from tests.api.live_server import serving


@asynccontextmanager
async def toy_client(cluster: FakeCluster, settings: ApiSettings | None = None) -> AsyncIterator[PetalsClient]:
    """Over real sockets."""
    async with serving(build_app(cluster, settings or ApiSettings())) as base_url:
        async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, verify=False) as http:
            yield PetalsClient(http, base_url, TOY.name, TOY.bos_text)


@asynccontextmanager
async def toy_calls(cluster: FakeCluster, settings: ApiSettings | None = None) -> AsyncIterator[PetalsClient]:
    """Without sockets, for HTTP calls only."""
    transport = httpx.ASGITransport(build_app(cluster, settings or ApiSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=TIMEOUT_S) as http:
        yield PetalsClient(http, "http://toy", TOY.name, TOY.bos_text)


def only_session(cluster: FakeCluster) -> FakeSession:
    """The one that is open."""
    (session,) = cluster.open_sessions.values()
    return session


def continuation(ids: list[int], num_tokens: int) -> str:
    """What the default toy model says behind these tokens."""
    for _ in range(num_tokens):
        ids = [*ids, toy_model.letters(ids)]
    return toy_model.decode(ids[-num_tokens:])
