"""A client that leaves while its answer is long in coming, with a proxy between that keeps the connection open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import httpx
import pytest

from api.http import patience
from tests.api.fake_cluster import FakeCluster
from tests.api.http.petals.toy_server import continuation, toy_client


@asynccontextmanager
async def believing_proxy(base_url: str) -> AsyncIterator[str]:
    """Passes on what it is sent. That a client has ended its side means nothing to it, until it cannot write to it."""
    host, port = base_url.removeprefix("http://").split(":")
    connections: set[asyncio.Task[None]] = set()

    async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(cast("asyncio.Task[None]", asyncio.current_task()))
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        sending = asyncio.create_task(forward(reader, server_writer))
        try:
            await forward(server_reader, writer)
        finally:
            sending.cancel()
            server_writer.close()
            writer.close()

    proxy = await asyncio.start_server(accept, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@pytest.mark.parametrize("is_patient", [True, False])
async def test_a_turn_ends_whose_client_has_left_a_proxy_that_does_not_say_so(
    is_patient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05 if is_patient else 60.0)
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client, believing_proxy(client.base_url) as url:
        async with httpx.AsyncClient(base_url=url) as leaving:
            form = {"inputs": "Q", "max_new_tokens": "4000"}
            asking = asyncio.create_task(leaving.post("/api/v1/generate", data=form))
            async with asyncio.timeout(30):
                await cluster.begun.acquire()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
        (turn,) = cluster.turns
        with suppress(TimeoutError):
            await asyncio.wait_for(turn.ended.wait(), 30 if is_patient else 0.5)
        assert turn.is_running is not is_patient, "without the spaces nothing tells the server"


async def test_a_patient_client_reads_json_after_the_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.02)
    cluster = FakeCluster()
    cluster.pace.hold()
    async with toy_client(cluster) as client:
        text = ""
        form = {"inputs": "Q", "max_new_tokens": "3"}
        async with client.http.stream("POST", "/api/v1/generate", data=form) as response:
            async for piece in response.aiter_text():
                text += piece
                if text == "   ":
                    cluster.pace.release()
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert text.startswith("   ")
        assert json.loads(text) == {"ok": True, "outputs": continuation([ord("Q")], 3)}
        assert (await client.generate(inputs="Q", max_new_tokens="3"))["outputs"] == continuation([ord("Q")], 3)
