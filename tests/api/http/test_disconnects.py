from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from api.http.disconnects import while_connected


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
