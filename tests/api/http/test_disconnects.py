from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.http.app import build_app
from api.http.disconnects import while_connected
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving


def request(leave: asyncio.Event) -> Request:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        for message in messages:
            return message
        await leave.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "method": "GET", "headers": []}, receive)


class Work:
    def __init__(self) -> None:
        self.started, self.cleaned_up = asyncio.Event(), False

    async def run(self) -> str:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleaned_up = True
        return "never"


async def test_work_that_ends_first_gives_its_result_or_its_error() -> None:
    async def answer() -> str:
        return "done"

    async def fail() -> str:
        raise ZeroDivisionError

    assert await while_connected(request(asyncio.Event()), answer()) == "done"
    with pytest.raises(ZeroDivisionError):
        await while_connected(request(asyncio.Event()), fail())


async def test_a_client_that_leaves_ends_the_work_before_the_call_returns() -> None:
    work, leave = Work(), asyncio.Event()
    call = asyncio.create_task(while_connected(request(leave), work.run()))
    await work.started.wait()
    leave.set()
    with pytest.raises(ClientDisconnect):
        await call
    assert work.cleaned_up


async def test_cancelling_the_call_ends_the_work_too() -> None:
    work = Work()
    call = asyncio.create_task(while_connected(request(asyncio.Event()), work.run()))
    await work.started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert work.cleaned_up


@pytest.mark.parametrize("path", ["/api/sessions", "/api/v1/generate", "/api/topics/news", "/api/programs"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_fault(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(build_app(FakeCluster(), ApiSettings())) as base_url:
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(base_url).port)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        )
        writer.write(f"{head}half".encode())
        await writer.drain()
        writer.close()
        async with asyncio.timeout(30):
            while not (served := [record for record in caplog.records if record.message == "served"]):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    assert [vars(record)["status"] for record in served] == [499]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]
