from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell


async def echo_size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def in_pieces(num_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(num_bytes):
        yield b"x"


async def test_a_body_up_to_the_limit_passes_and_a_longer_one_is_413() -> None:
    async with shell([Route("/size", echo_size, methods=["POST"])], ApiSettings(max_body_bytes=1024)) as client:
        for num_bytes, status in ((1024, 200), (1025, 413)):
            assert (await client.post("/size", content=num_bytes * b"x")).status_code == status
            assert (await client.post("/size", content=in_pieces(num_bytes))).status_code == status
        refused = await client.post("/size", content=in_pieces(2000))
        assert refused.headers["x-greenroom-error"] == "too_large"


async def test_a_declared_length_is_refused_before_the_body_is_sent() -> None:
    async with serving(build_app(FakeCluster(), ApiSettings(max_body_bytes=1024))) as base_url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
        writer.write(b"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
        async with asyncio.timeout(30):
            assert b" 413 " in await reader.readline()
        writer.close()


async def test_requests_beyond_the_limit_are_503_with_retry_after_and_health_is_not() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        entered.set()
        await leave.wait()
        return PlainTextResponse("done")

    async with shell([Route("/slow", slow)], ApiSettings(max_concurrent_requests=1)) as client:
        pending = asyncio.create_task(client.get("/slow"))
        await entered.wait()
        refused, health = await client.get("/slow"), await client.get("/healthz")
        assert (refused.status_code, refused.headers["retry-after"], health.status_code) == (503, "1", 200)
        leave.set()
        assert (await pending).text == "done"
        assert (await client.get("/slow")).text == "done"


async def test_a_request_that_fails_gives_its_place_back() -> None:
    async def broken(request: Request) -> Response:
        raise ZeroDivisionError

    async with shell([Route("/broken", broken)], ApiSettings(max_concurrent_requests=1)) as client:
        assert [(await client.get("/broken")).status_code for _ in range(3)] == [500, 500, 500]


async def test_a_socket_message_beyond_the_limit_is_refused() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(str(len(await websocket.receive_text())))

    settings = ApiSettings(max_body_bytes=1024)
    async with serving(build_app(FakeCluster(), settings, [WebSocketRoute("/echo", endpoint)])) as base_url:
        async with connect(base_url.replace("http", "ws") + "/echo") as connection:
            await connection.send(1024 * "x")
            assert await connection.recv() == "1024"
            await connection.send(1023 * "x" + "é")
            await connection.wait_closed()
            assert connection.close_code == 1009
