"""No owner takes all of one process: sockets, event streams, calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from websockets.asyncio.client import connect

from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving

KEYS = tuple(ApiKey.model_validate({"key": f"key-of-{owner}", "owner": owner}) for owner in ("ada", "grace"))


def key(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer key-of-{owner}"}


@asynccontextmanager
async def events(base_url: str, owner: str) -> AsyncIterator[httpx.Response]:
    async with httpx.AsyncClient(base_url=base_url, headers=key(owner)) as client:
        async with client.stream("GET", "/api/topics/news/events") as response:
            yield response


async def test_streams_and_calls_are_counted_apart_and_an_owner_has_its_share_of_each() -> None:
    settings = ApiSettings(api_keys=KEYS, max_streams=4, max_concurrent_requests=2, owner_share=0.5)
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(serving(build_app(FakeCluster(), settings)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=base_url))
        for _ in range(2):
            assert (await stack.enter_async_context(events(base_url, "ada"))).status_code == 200
        async with events(base_url, "ada") as refused:
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            message = (json.loads(await refused.aread()))["error"]["message"]
            assert message == "event streams: one owner may have 2 at a time"
        assert (await client.get("/api/sessions", headers=key("ada"))).status_code == 200
        for _ in range(2):
            assert (await stack.enter_async_context(events(base_url, "grace"))).status_code == 200
        async with events(base_url, "grace") as refused:
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_half_sent_bodies_take_the_place_of_their_owner_only() -> None:
    settings = ApiSettings(api_keys=KEYS, max_concurrent_requests=4, owner_share=0.5)
    async with serving(build_app(FakeCluster(), settings)) as base_url, httpx.AsyncClient(base_url=base_url) as client:
        writers = [await half_sent(base_url, "ada") for _ in range(2)]
        async with asyncio.timeout(30):
            while (await client.get("/api/sessions", headers=key("ada"))).status_code == 200:
                pass
        refused = await client.get("/api/sessions", headers=key("ada"))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert (await client.get("/api/sessions", headers=key("grace"))).status_code == 200
        for writer in writers:
            writer.close()
        async with asyncio.timeout(30):
            while (await client.get("/api/sessions", headers=key("ada"))).status_code != 200:
                pass


async def half_sent(base_url: str, owner: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
    head = (
        f"POST /api/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-of-{owner}\r\nContent-Length: 9\r\n\r\n"
    )
    writer.write(f"{head}{{".encode())
    await writer.drain()
    return writer


async def test_sockets_beyond_an_owners_share_are_closed_with_the_reason() -> None:
    settings = ApiSettings(api_keys=KEYS, max_sockets=2, owner_share=0.5)
    async with serving(build_app(FakeCluster(), settings)) as base_url:
        url = base_url.replace("http", "ws") + "/api/v2/generate"
        async with connect(url, additional_headers=key("ada")):
            async with connect(url, additional_headers=key("ada")) as refused:
                await refused.wait_closed()
                assert refused.close_code == 1013
                expected = "sockets: one owner may have 1 at a time; retry after 1 s"
                assert refused.close_reason == expected
            async with connect(url, additional_headers=key("grace")) as connection:
                await connection.send("nonsense")
                assert "traceback" in str(await connection.recv())


@pytest.mark.parametrize(
    ("first", "second", "is_refused"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("::1", "::1", False),
    ],
)
async def test_without_keys_an_address_has_a_share_and_this_machine_has_all(
    first: str, second: str, is_refused: bool
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        entered.set()
        await leave.wait()
        return PlainTextResponse("done")

    settings = ApiSettings(max_concurrent_requests=4, owner_share=0.25)
    app = build_app(FakeCluster(), settings, [Route("/slow", slow)])
    async with client_at(app, first) as one, client_at(app, second) as other:
        pending = asyncio.create_task(one.get("/slow"))
        async with asyncio.timeout(30):
            await entered.wait()
        assert (await other.get("/api/models")).status_code == (429 if is_refused else 200)
        leave.set()
        await pending


def client_at(app: ASGIApp, address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1234)), base_url="http://localhost")
