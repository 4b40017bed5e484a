"""What hostile clients do to the gateway's own server, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import psutil
import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect

from api.errors import Unavailable
from api.http.server.listener import Listener
from api.http.server.pending import ConnectionLimits

QUICK = ConnectionLimits(head_timeout_s=0.6, body_timeout_s=1.0, idle_timeout_s=0.6, close_timeout_s=0.6)
PATIENCE_S = 10.0
HALF_HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Half: "
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"


class Application:
    """``/healthz``; ``/echo`` answers with the body; ``/large``; ``/slow`` streams; ``/lazy`` reads the body late."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
            return
        body = b"ok"
        if scope["path"] == "/lazy":
            await asyncio.sleep(2 * QUICK.body_timeout_s)
        if scope["path"] in ("/echo", "/lazy"):
            body = await self._read(receive)
        if scope["path"] == "/large":
            body = b"x" * (64 << 20)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/slow":
            for _ in range(4):
                await send({"type": "http.response.body", "body": b"part ", "more_body": True})
                await asyncio.sleep(QUICK.body_timeout_s / 2)
        await send({"type": "http.response.body", "body": body})

    async def _read(self, receive: Receive) -> bytes:
        body: bytes = b""
        while True:
            message: Message = await receive()
            self.heard.append(message["type"])
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return body


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def listening(
    limits: ConnectionLimits = QUICK, application: Application | None = None
) -> AsyncIterator[tuple[str, int]]:
    port = free_port()
    listener = Listener(application or Application(), "127.0.0.1", port, max_message_bytes=1 << 20, limits=limits)
    await listener.start()
    try:
        yield f"http://127.0.0.1:{port}", port
    finally:
        await listener.stop()


async def exchange(port: int, *parts: bytes, pause_s: float = 0.0) -> tuple[bytes, float]:
    """Send these parts; what came until the server ended the connection, and after how long."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause_s)

    sending = asyncio.create_task(send())
    answer = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
    sending.cancel()
    writer.close()
    return answer, time.monotonic() - began


@pytest.mark.parametrize("parts", [(), (HALF_HEAD,), (HALF_HEAD, *[b"x"] * 40)], ids=["nothing", "half", "trickled"])
async def test_a_head_that_does_not_end_in_time_ends_its_connection(parts: tuple[bytes, ...]) -> None:
    async with listening() as (_, port):
        answer, after_s = await exchange(port, *parts, pause_s=0.1)
    assert answer.startswith(b"HTTP/1.1 408 ") or (answer == b"" and len(parts) > 2)  # sent after the end: a reset
    assert 0.5 < after_s < PATIENCE_S


async def test_a_later_head_has_its_time_too() -> None:
    async with listening() as (_, port):
        answer, after_s = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", HALF_HEAD, pause_s=0.2)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answer
    assert after_s < PATIENCE_S


async def test_a_silent_body_ends_its_connection_and_its_handler() -> None:
    application = Application()
    async with listening(application=application) as (_, port):
        answer, after_s = await exchange(port, POST, b"12345")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert 0.9 < after_s < PATIENCE_S
        async with asyncio.timeout(PATIENCE_S):
            while application.heard[-1:] != ["http.disconnect"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_a_body_that_keeps_coming_is_taken() -> None:
    async with listening() as (_, port):
        answer, after_s = await exchange(port, POST, *[b"x"] * 10, pause_s=0.2)
    assert b"xxxxxxxxxx" in answer
    assert after_s > 1.5


async def test_a_body_that_the_handler_does_not_take_yet_is_not_late() -> None:
    async with listening() as (url, _), httpx.AsyncClient(base_url=url) as client:
        assert (await client.post("/lazy", content=b"y" * 400_000)).content == b"y" * 400_000


async def test_an_answer_may_take_longer_than_any_of_the_times() -> None:
    async with listening() as (url, _), httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/slow")).text == "part part part part ok"


async def test_a_socket_may_be_silent_for_longer_than_any_of_the_times() -> None:
    async with listening() as (url, _), connect(url.replace("http", "ws")) as websocket:
        await asyncio.sleep(3 * QUICK.head_timeout_s)
        await websocket.send("still here")
        assert await websocket.recv() == "still here"


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with listening() as (_, port):
        answer, after_s = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert after_s < PATIENCE_S


async def test_an_endless_head_is_refused_while_it_is_small() -> None:
    async with listening(replace(QUICK, head_timeout_s=30)) as (_, port):
        fields = [b"X-Many: " + b"x" * 4000 + b"\r\n"] * 20
        answer, _ = await exchange(port, b"GET / HTTP/1.1\r\n", *fields, pause_s=0.01)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    async with listening() as (_, port):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                while _num_served(port) == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while _num_served(port) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def test_two_thousand_half_heads_leave_everybody_else_served() -> None:
    limits = ConnectionLimits(max_waiting=100)
    async with listening(limits) as (url, port), httpx.AsyncClient(base_url=url) as client:
        clients = []
        try:
            for _ in range(2000):
                half = socket.create_connection(("127.0.0.1", port))
                half.sendall(HALF_HEAD)
                clients.append(half)
                if len(clients) % 100 == 0:
                    assert (await client.get("/healthz", headers={"Connection": "close"})).text == "ok"
            assert sum(not _is_over(half) for half in clients) <= 100
        finally:
            for half in clients:
                half.close()


async def test_more_connections_than_it_may_have_end_the_oldest_that_wait() -> None:
    async with listening(ConnectionLimits(max_connections=20)) as (url, port):
        async with contextlib.AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(connect(url.replace("http", "ws"))) for _ in range(10)]
            halves = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
            async with httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/healthz")).text == "ok"
            for websocket in sockets:
                await websocket.send("here")
                assert await websocket.recv() == "here"
            for _, writer in halves:
                writer.close()


async def test_sockets_that_open_after_a_new_limit_have_it() -> None:
    port = free_port()
    listener = Listener(Application(), "127.0.0.1", port, max_message_bytes=1024, limits=QUICK)
    await listener.start()
    async with connect(f"ws://127.0.0.1:{port}") as before:
        listener.limit_messages(2048)
        async with connect(f"ws://127.0.0.1:{port}") as after:
            await after.send("x" * 4096)
            assert await after.recv() == "x" * 4096
            await after.send("x" * 4097)
            await after.wait_closed()
        await before.send("x" * 2049)
        await before.wait_closed()
    assert (before.close_code, after.close_code) == (1009, 1009)
    await listener.stop()


async def test_one_listener_takes_over_from_another_on_the_same_address() -> None:
    async with listening() as (url, port):
        second = Listener(Application(), "127.0.0.1", port, max_message_bytes=1 << 20, limits=QUICK)
        await second.start()
        second.check()
        async with httpx.AsyncClient(base_url=url, limits=httpx.Limits(max_keepalive_connections=0)) as client:
            for _ in range(20):
                assert (await client.get("/healthz")).text == "ok"
            await second.stop()
            with pytest.raises(Unavailable):
                second.check()
            for _ in range(20):
                assert (await client.get("/healthz")).text == "ok"


def _is_over(client: socket.socket) -> bool:
    """The server has sent something, which can be the end only."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True


def _num_served(port: int) -> int:
    """Connections of clients that this process holds, the listening socket not counted."""
    mine = psutil.Process().net_connections("tcp")
    return sum(each.laddr.port == port and each.status != psutil.CONN_LISTEN for each in mine)
