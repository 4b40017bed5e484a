"""Calls between processes of one machine, over real sockets; the actor's id stands for an actor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from actors.calls import wire
from actors.calls.interface import Interface
from actors.calls.socket_client import ActorFailed, Connections, Disconnected
from actors.calls.socket_server import Calls
from actors.calls.wire import address
from api.errors import GreenroomError, LengthExceeded
from api.turns import Finish, Frame


class Actor:
    """Answers in several ways."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.may_end = asyncio.Event()

    async def call(self, method: str, arguments: Any) -> Any:
        return await CALLS.dispatch(self, method, arguments)

    async def echo(self, value: Any) -> Any:
        return value

    async def wait(self, number: int) -> int:
        self.began.append(number)
        await self.may_end.wait()
        return number

    async def refuse(self) -> None:
        raise LengthExceeded(3, 8, 5)

    async def fail(self) -> None:
        raise KeyError("of a bug")

    async def answer_what_cannot_travel(self) -> Any:
        return lambda: None

    async def _own(self) -> None:
        raise AssertionError("nobody else may call this")


CALLS = Interface(Actor)


@contextlib.asynccontextmanager
async def listening(actor: Actor) -> AsyncIterator[str]:
    actor_id = uuid.uuid4().hex
    listener = await asyncio.get_running_loop().create_unix_server(Calls(actor.call).wire, address(actor_id))
    try:
        yield actor_id
    finally:
        listener.close()


async def connect(actor_id: str) -> Any:
    connection = await Connections().get(actor_id)
    assert connection is not None
    return connection


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_values_arrive_as_they_were_sent(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(echo_values())


async def echo_values() -> None:
    frame = Frame("turn", 1, 0, (5, 6), ("a", "\ud800"), (), Finish("stop"))
    async with listening(Actor()) as actor_id:
        connection = await connect(actor_id)
        for value in (None, frame, "x" * 3_000_000, tuple(range(100_000)), [b"", {"a": {1}}]):
            assert await connection.call(("echo", (value,))) == value


async def test_calls_begin_in_order_and_are_answered_as_they_end() -> None:
    actor = Actor()
    async with listening(actor) as actor_id:
        connection = await connect(actor_id)
        waiting = [asyncio.create_task(connection.call(("wait", (number,)))) for number in range(50)]
        assert await connection.call(("echo", ("past them",))) == "past them"
        assert actor.began == list(range(50))
        actor.may_end.set()
        assert await asyncio.gather(*waiting) == list(range(50))


async def test_errors_of_ours_arrive_as_they_are_and_bugs_with_their_traceback() -> None:
    async with listening(Actor()) as actor_id:
        connection = await connect(actor_id)
        with pytest.raises(LengthExceeded, match="8"):
            await connection.call(("refuse", ()))
        for method, text in (("fail", "of a bug"), ("answer_what_cannot_travel", "pickle"), ("_own", "_own")):
            with pytest.raises(ActorFailed, match=text):
                await connection.call((method, ()))
        with pytest.raises(Exception, match="pickle"):
            await connection.call(("echo", (lambda: None,)))
        assert await connection.call(("echo", (1,))) == 1


async def test_a_call_that_nobody_waits_for_any_longer_runs_on_and_disturbs_none() -> None:
    actor = Actor()
    async with listening(actor) as actor_id:
        connection = await connect(actor_id)
        asking = asyncio.ensure_future(connection.call(("wait", (1,))))
        while not actor.began:  # noqa: ASYNC110
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        actor.may_end.set()
        assert await connection.call(("echo", ("still here",))) == "still here"


async def test_that_none_is_had_where_nobody_listens_and_that_it_is_tried_again() -> None:
    connections, actor_id = Connections(), uuid.uuid4().hex
    assert await connections.get(actor_id) is None
    listener = await asyncio.get_running_loop().create_unix_server(Calls(Actor().call).wire, address(actor_id))
    assert await connections.get(actor_id) is None, "not before its time"
    connections.RETRY_S = 0.0
    connections._absent.clear()
    first, second = await asyncio.gather(connections.get(actor_id), connections.get(actor_id))
    assert first is second is not None
    listener.close()


SERVER = """
import asyncio, sys
from actors.calls.socket_server import Calls
from actors.calls.wire import address

async def call(method, arguments):
    if method == "echo":
        return arguments[0]
    print("called", flush=True)
    await asyncio.Event().wait()

async def main():
    await asyncio.get_running_loop().create_unix_server(Calls(call).wire, address(sys.argv[1]))
    print("listens", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def start(actor_id: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, actor_id], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "listens\n"
    return process


async def test_a_killed_process_ends_its_calls_at_once_and_its_successor_is_found() -> None:
    connections, actor_id = Connections(), uuid.uuid4().hex
    with start(actor_id) as process:
        connection = await connections.get(actor_id)
        assert connection is not None
        assert process.stdout is not None
        waiting = asyncio.create_task(connection.call(("wait", ())))
        assert await asyncio.to_thread(process.stdout.readline) == "called\n"
        process.kill()
        with pytest.raises(Disconnected):
            await asyncio.wait_for(waiting, 30)
    with pytest.raises(Disconnected):
        await asyncio.wait_for(connection.call(("echo", (1,))), 30)
    with start(actor_id) as successor:
        again = await connections.get(actor_id)
        assert again is not None
        assert again is not connection
        assert await again.call(("echo", (2,))) == 2
        successor.kill()


async def test_a_process_of_another_user_is_not_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(Actor()) as actor_id:
        stranger = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: stranger)
        assert await Connections().get(actor_id) is None
        reader, writer = await asyncio.open_unix_connection(address(actor_id))
        assert await reader.read() == b"", "the other side does not listen either"
        writer.close()


async def test_that_they_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(wire.SWITCH, "0")
    async with listening(Actor()) as actor_id:
        assert await Connections().get(actor_id) is None


def test_that_errors_of_ours_survive_their_pickle() -> None:
    error = wire.loads(wire.dumps(GreenroomError("said")))
    assert isinstance(error, GreenroomError)
    assert str(error) == "said"
