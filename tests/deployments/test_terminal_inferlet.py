"""An inferlet on a terminal, on a real socket: the test is its user and its program."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from api.client import Client
from api.errors import InferletEnded
from api.http.app import build_app
from api.inferlet_events import Completed, Failed, Message, Stderr, Stdout
from api.settings import ApiSettings
from deployments.terminal_inferlet import TerminalInferlet
from tests.api.fake_cluster import FakeCluster
from tests.api.fake_inferlets import FakeInferlet
from tests.api.live_server import serving
from tests.deployments.test_terminal_chat import Screen


class Keyboard:
    """Lines that the test types, each when it wants; a terminal, or a pipe."""

    def __init__(self, is_terminal: bool) -> None:
        reading, self._writing = os.pipe()
        self._lines = os.fdopen(reading)
        self._is_terminal = is_terminal

    def type(self, line: str) -> None:
        """A line, and Enter."""
        os.write(self._writing, f"{line}\n".encode())

    def end(self) -> None:
        """Ctrl-D."""
        os.close(self._writing)

    def isatty(self) -> bool:
        """As said."""
        return self._is_terminal

    def __iter__(self) -> Iterator[str]:
        with self._lines as lines:
            yield from lines


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def client(cluster: FakeCluster) -> AsyncIterator[Client]:
    async with serving(build_app(cluster, ApiSettings())) as url, Client(url, patience_s=5) as client:
        yield client


async def attached(
    client: Client, cluster: FakeCluster, is_terminal: bool
) -> tuple[asyncio.Task[int], FakeInferlet, Keyboard, Screen, Screen]:
    program = await cluster.upload_program("an inferlet", "program.py", "")
    instance = await client.launch_instance(program)
    keyboard, out, err = Keyboard(is_terminal), Screen(), Screen()
    running = asyncio.create_task(TerminalInferlet(instance, out.console, err.console, keyboard).run())
    return running, cluster.launched[instance.instance_id], keyboard, out, err


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_what_it_sends_is_printed_and_what_is_typed_is_sent(client: Client, cluster: FakeCluster) -> None:
    running, inferlet, keyboard, out, err = await attached(client, cluster, is_terminal=True)
    inferlet.add(Message(0, "Hello"), Message(1, {"a": 1}), Stdout(2, "printed\n"), Stderr(3, "warned\n"))
    keyboard.type("Hi there")
    await until(lambda: inferlet.received)
    inferlet.add(Completed(4, 7))
    assert await running == 0
    assert list(inferlet.received.values()) == ["Hi there"]
    assert (out.read(), err.read()) == ('Hello\n{"a": 1}\nprinted\n7\n', "warned\n")
    keyboard.end()


async def test_a_failure_is_printed_and_is_the_exit_code(client: Client, cluster: FakeCluster) -> None:
    running, inferlet, keyboard, _, err = await attached(client, cluster, is_terminal=False)
    keyboard.end()
    inferlet.add(Failed(0, "Traceback: no\n"))
    assert await running == 1
    assert err.read() == "Traceback: no\n"


async def test_the_end_of_the_input_of_a_terminal_leaves_it_running(client: Client, cluster: FakeCluster) -> None:
    running, inferlet, keyboard, _, err = await attached(client, cluster, is_terminal=True)
    keyboard.type("last words")
    keyboard.end()
    assert await running == 0
    assert list(inferlet.received.values()) == ["last words"]
    assert f"greenroom attach {inferlet.instance_id}" in err.read()
    assert not inferlet.log


@pytest.mark.parametrize(("answer", "is_over"), [("y", True), ("no", False)])
async def test_an_interrupt_asks_whether_to_terminate(
    client: Client, cluster: FakeCluster, answer: str, is_over: bool
) -> None:
    running, inferlet, keyboard, _, err = await attached(client, cluster, is_terminal=True)
    keyboard.type("first")
    await until(lambda: inferlet.received)
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: "Terminate it? [y/N]" in err.read())
    keyboard.type(answer)
    if not is_over:
        keyboard.type("second")
        await until(lambda: len(inferlet.received) == 2)
        keyboard.end()
    assert await running == int(is_over)
    assert bool(inferlet.log) == is_over
    assert answer not in inferlet.received.values()
    if is_over:
        keyboard.end()


async def test_coming_back_to_one_that_has_ended_prints_it_all_and_leaves(client: Client, cluster: FakeCluster) -> None:
    running, inferlet, keyboard, _, _ = await attached(client, cluster, is_terminal=True)
    inferlet.add(Message(0, "[bold]Hello[/] \ud800"), Failed(1, "no"))
    assert await running == 1
    keyboard.end()
    out, err, keyboard = Screen(), Screen(), Keyboard(is_terminal=False)
    again = await client.attach_instance(inferlet.instance_id)
    assert await asyncio.wait_for(TerminalInferlet(again, out.console, err.console, keyboard).run(), 30) == 1
    assert (out.read(), err.read()) == ("[bold]Hello[/] \\ud800\n", "no\n")
    behind = await client.attach_instance(inferlet.instance_id, after=1)
    with pytest.raises(InferletEnded, match="has been received before"):
        await asyncio.wait_for(TerminalInferlet(behind, out.console, err.console, Keyboard(False)).run(), 30)
    keyboard.end()
