"""The reference server of MCP, in Node, unchanged: what it offers is tools of an agent."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.mcp_servers import McpServer
from tests.actors.threads.caller import calling, text_of
from tests.actors.threads.mcp_agents import AGENTS, called
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.clients.catalogue import SCRIPTS, Client
from tests.clients.installation import CACHE, CannotInstall, Installation

pytestmark = [pytest.mark.node, pytest.mark.timeout(300)]

EVERYTHING = Client("mcp_everything", "MCP's reference server", SCRIPTS / "mcp_everything" / "package.json")


@pytest.fixture(scope="module")
def program() -> Path:
    """The server."""
    try:
        folder = Installation(CACHE).install(EVERYTHING)
    except CannotInstall as error:
        pytest.skip(str(error))
    return folder / "node_modules" / ".bin" / "mcp-server-everything"


@contextmanager
def listening(program: Path, port: int) -> Iterator[None]:
    """The server over HTTP, killed at the end."""
    environment, quiet = {"PORT": str(port), "PATH": os.environ["PATH"]}, subprocess.DEVNULL
    with subprocess.Popen([program, "streamableHttp"], env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            begun_at = time.monotonic()
            while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < begun_at + 60:
                time.sleep(0.02)
            yield
        finally:
            process.kill()


async def test_its_tools_over_standard_streams(program: Path, tmp_path: Path) -> None:
    servers = {"everything": McpServer("everything", (str(program), "stdio"))}
    async with scripted_cluster(tmp_path, configured=AGENTS, mcp_servers=servers) as small, calling(small) as caller:
        assert text_of(await called(caller, "everything", "echo", '{"message": "hi"}')) == "Echo: hi"
        _, picture, _ = (await called(caller, "everything", "get-tiny-image"))["parts"]
        assert (await caller.http.get(picture["url"])).content.startswith(b"\x89PNG")
        weather = await called(caller, "everything", "get-structured-content", '{"location": "Chicago"}')
        assert {*weather["parts"][0]["json"]} == {"temperature", "conditions", "humidity"}
        sad = await called(caller, "everything", "get-structured-content", '{"location": "Oslo"}')
        assert sad["error"]["code"] == "invalid_arguments"

        begun = await caller.begin("call trigger-elicitation-request {}", "c", "everything")
        assert (await caller.wait(begun["run_id"]))["state"] == "waiting"
        [ask] = await caller.blocks(begun["file"]["id"], f"run_id={begun['run_id']}&kinds=ask")
        await caller.answer(begun["run_id"], ask_id=ask["id"], value={"name": "Ada", "check": True})
        assert (await caller.wait(begun["run_id"]))["state"] == "succeeded"
        [result] = await caller.blocks(begun["file"]["id"], f"run_id={begun['run_id']}&kinds=tool_result")
        assert "- Name: Ada" in text_of(result)


async def test_its_tools_over_http_and_after_it_has_begun_anew(program: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = {"everything": McpServer("everything", url=f"http://127.0.0.1:{port}/mcp")}
    async with scripted_cluster(tmp_path, configured=AGENTS, mcp_servers=servers) as small, calling(small) as caller:
        with listening(program, port):
            assert text_of(await called(caller, "everything", "echo", '{"message": "hi"}')) == "Echo: hi"
        with listening(program, port):
            forgotten = await called(caller, "everything", "echo", '{"message": "hi"}')
            assert "refuses the call" in forgotten["error"]["message"]
            assert text_of(await called(caller, "everything", "echo", '{"message": "hi"}')) == "Echo: hi"
