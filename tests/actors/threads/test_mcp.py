"""Tools of real MCP servers, of Python's ``mcp`` package, in threads; a server's own record says what it has run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from api.mcp_servers import McpServer
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.caller import Caller, Json, calling, text_of
from tests.actors.threads.mcp_agents import AGENTS, COMMAND, called
from tests.actors.threads.scripted_cluster import scripted_cluster


@dataclass(frozen=True)
class Server:
    """A server over HTTP, in a process that is killed at the end."""

    port: int
    record: Path

    @property
    def url(self) -> str:
        """Of MCP."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @contextmanager
    def served(self) -> Iterator[None]:
        """While it answers."""
        environment, quiet = {"RECORD": str(self.record)}, subprocess.DEVNULL
        with subprocess.Popen([*COMMAND, str(self.port)], env=environment, stdout=quiet, stderr=quiet) as process:
            try:
                begun_at = time.monotonic()
                while not self._listens and time.monotonic() < begun_at + 60:
                    time.sleep(0.02)
                yield
            finally:
                process.kill()

    @property
    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


def _server(folder: Path) -> Server:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Server(free.getsockname()[1], folder / "record")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that always answers."""
    server = _server(tmp_path_factory.mktemp("shared"))
    with server.served():
        yield server


@pytest.fixture
def far(tmp_path: Path) -> Server:
    """One that the test starts, and ends."""
    return _server(tmp_path)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server of ``local`` writes what it does."""
    path = tmp_path / "record"
    path.touch()
    monkeypatch.setenv("GREENROOM_TEST_RECORD", str(path))
    return path


@pytest_asyncio.fixture
async def small(tmp_path: Path, far: Server, shared: Server) -> AsyncIterator[SmallCluster]:
    servers = {
        "remote": McpServer("remote", url=far.url, headers={"authorization": "a-secret"}),
        "shared": McpServer("shared", url=shared.url, needs_approval=("place",)),
        "hurried": McpServer("hurried", url=shared.url, timeout_s=1),
    }
    async with scripted_cluster(tmp_path, configured=AGENTS, mcp_servers=servers) as small:
        yield small


@pytest_asyncio.fixture
async def caller(small: SmallCluster) -> AsyncIterator[Caller]:
    async with calling(small) as caller:
        yield caller


def lines(record: Path) -> list[str]:
    """What a server has recorded."""
    return record.read_text().splitlines()


async def until(record: Path, line: str) -> None:
    """A server has recorded this."""
    async with asyncio.timeout(60):
        while line not in lines(record):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_server_of_standard_streams_has_its_tools_called(caller: Caller, record: Path) -> None:
    assert text_of(await called(caller, "local", "add", '{"a": 1, "b": 2}')) == "own 3"
    assert text_of(await called(caller, "local", "things__add", '{"a": 1, "b": 2}')) == "3"

    several = await called(caller, "local", "several", '{"text": "x"}')
    text, picture = several["parts"]
    assert (text["text"], picture["type"], picture["mime_type"]) == ("x", "file", "image/png")
    assert (await caller.http.get(picture["url"])).content == b"\x89PNG"

    for name, arguments, code, words in (
        ("fail", '{"why": "rain"}', "tool_error", "ToolError: no: rain"),
        ("things__add", '{"a": 1, "b": 101}', "invalid_arguments", "101 is greater than the maximum of 100"),
        ("things__add", '{"a": 1, "b": 2, "mood": "sad"}', "invalid_arguments", "'sad' is not one of"),
        ("die", '{"name": "x"}', "tool_error", "MCP server 'things' ended during this call, which might have run"),
    ):
        failed = await called(caller, "local", name, arguments)
        assert (failed["state"], failed["error"]["code"]) == ("failed", code)
        assert words in failed["error"]["message"]
    assert text_of(await called(caller, "local", "variable", '{"name": "HOME"}')) != "none"
    assert text_of(await called(caller, "local", "variable", '{"name": "PYTEST_CURRENT_TEST"}')) == "none"

    pid = int(text_of(await called(caller, "local", "process")))
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while psutil.pid_exists(pid):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert int(text_of(await called(caller, "local", "process"))) != pid
    assert lines(record) == ["started", "add 1 2 calm", "die x", "started", "started"]


async def test_a_server_asks_a_person_and_calls_wait_for_approval(caller: Caller) -> None:
    begun = await caller.begin('call order {}\ncall place {"city": "Oslo"}', "c", "shared")
    run_id = begun["run_id"]
    question = (await caller.until(begun, "block.created", kind="ask", name=None)).data["block"]
    asks: dict[str, Json] = {}
    async with asyncio.timeout(60):
        while len(asks) < 2:
            blocks = await caller.blocks(begun["file"]["id"], f"run_id={run_id}&kinds=ask")
            asks = {block["ask"]["type"]: block for block in blocks}
            await asyncio.sleep(0.02)
    assert question["id"] in {block["id"] for block in asks.values()}
    assert asks["question"]["ask"]["schema"]["properties"]["dish"]["type"] == "string"
    await caller.answer(run_id, ask_id=asks["question"]["id"], value={"dish": "soup"})
    await caller.answer(run_id, ask_id=asks["approval"]["id"], approve=True)
    assert (await caller.wait(run_id))["state"] == "succeeded"
    results = await caller.blocks(begun["file"]["id"], f"run_id={run_id}&kinds=tool_result")
    assert {text_of(one) for one in results if one["name"] == "order"} == {"ordered soup"}
    [place] = [one for one in results if one["name"] == "place"]
    assert [part["json"] for part in place["parts"]] == [{"city": "Oslo", "at": [59.9, 10.7]}]


async def test_a_call_that_takes_too_long_is_left(caller: Caller, shared: Server) -> None:
    result = await called(caller, "hurried", "hold", '{"name": "x"}')
    assert result["error"] == {"code": "timeout", "message": "hold took longer than 1 s"}
    await until(shared.record, "left x")


async def test_a_death_repeats_no_call_and_no_listing(caller: Caller, small: SmallCluster, record: Path) -> None:
    begun = await caller.begin('call hold {"name": "x"}', "c", "local")
    await until(record, "hold x")
    small.kill_inferlet(begun["file"]["id"])
    run = await caller.wait(begun["run_id"])
    assert (run["state"], run["reason"]) == ("failed", "worker_lost")
    answer = await caller.prompt("say hello", "c", "local", tool_choice="things__add")
    assert answer["run"]["state"] == "succeeded"
    assert lines(record).count("hold x") == 1
    assert lines(record).count("started") == 1
    assert text_of(await called(caller, "local", "things__add", '{"a": 1, "b": 2}')) == "3"
    assert lines(record).count("started") == 2


async def test_a_server_over_http_may_go_and_come_again(caller: Caller, far: Server) -> None:
    failed = await caller.prompt("say hello", "c", "remote")
    assert (failed["run"]["state"], failed["run"]["reason"]) == ("failed", "tool_error")
    assert failed["run"]["error"]["message"] == "MCP server 'remote' cannot be reached (ConnectError)"
    with far.served():
        assert text_of(await called(caller, "remote", "add", '{"a": 1, "b": 2}')) == "3"
        died = await called(caller, "remote", "die", '{"name": "x"}')
        assert "MCP server 'remote' ended during this call" in died["error"]["message"]
    gone = await called(caller, "remote", "add", '{"a": 1, "b": 2}')
    assert gone["error"]["message"] == "McpFailed: MCP server 'remote' cannot be reached (ConnectError)"
    with far.served():
        assert text_of(await called(caller, "remote", "add", '{"a": 2, "b": 2}')) == "4"
    assert lines(far.record) == ["started", "add 1 2 calm", "die x", "started", "add 2 2 calm"]


async def test_agents_that_are_asked_or_handed_over_to_have_the_tools_of_their_own_servers(caller: Caller) -> None:
    prompt = json.dumps({"prompt": 'call add {"a": 1, "b": 2}'})
    assert text_of(await called(caller, "front", "shared", prompt)) == "told 3"
    answer = await caller.prompt('call add {"a": 1, "b": 2}', "c", "front")
    assert "there is no tool 'add'" in text_of(answer["blocks"][-1])
    await called(caller, "front", "transfer_to_shared")
    assert text_of(await called(caller, "front", "add", '{"a": 2, "b": 2}')) == "4"


async def test_a_tool_that_no_server_has_is_told_when_they_have_listed_theirs(caller: Caller) -> None:
    answer = await caller.prompt("say hello", "c", "shared", tool_choice="nothing")
    assert (answer["run"]["state"], answer["run"]["error"]["message"]) == ("failed", "no tool is called 'nothing'")
    refused = await caller.ask(
        "POST", "/api/agents/shared/prompt", {"prompt": "say hello", "context_id": "c", "tool_choice": "nothing"}, 400
    )
    assert refused["error"]["code"] == "invalid_request"


async def test_a_function_calls_the_tools_of_a_server_by_name(small: SmallCluster, caller: Caller) -> None:
    begun = await caller.prompt("add", agent="adder")
    assert text_of(begun["blocks"][-1]) == "own 3, 3"
    small.kill_inferlet(begun["thread_id"])
    again = await caller.prompt("add", begun["thread_id"], "adder")
    assert text_of(again["blocks"][-1]) == "own 3, 3"
    listed = await caller.blocks(begun["thread_id"], "kinds=status")
    assert [text_of(block) for block in listed].count("Asking shared for its tools") == 1
