"""MCP servers of agents as processes beside the actors of threads, on a real Ray cluster."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.actors.threads.caller import Caller, text_of
from tests.actors.threads.mcp_agents import SERVER
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCE = """
from api.agents import Agent, mcp

things = mcp("things", command={command!r}, env={{"RECORD": {record!r}}}, tools=["add", "hold", "process"])
counter = Agent(name="counter", tools=[things])
"""


def test_a_server_ends_with_its_actor_and_begins_with_the_next_call(deployed: Deployed, tmp_path: Path) -> None:
    record = tmp_path / "record"

    async def scenario() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=120) as http:
            caller = Caller(http)
            source = SOURCE.format(command=[sys.executable, str(SERVER)], record=str(record))
            await caller.ask("POST", "/api/agents", {"source": source}, 201)

            async def server() -> int:
                choice = ["process", "none"]
                begun = await caller.begin("Which?", "one", "counter", tool_choice=choice, limits={"max_tokens": 200})
                await caller.wait(begun["run_id"], 120)
                [result] = await caller.blocks(begun["thread_id"], f"run_id={begun['run_id']}&kinds=tool_result")
                return int(text_of(result))

            first = await server()
            assert psutil.pid_exists(first)
            hold = await caller.begin("Hold!", "one", "counter", tool_choice=["hold"], limits={"max_tokens": 200})
            await asyncio.to_thread(deployed.wait, lambda: "hold" in record.read_text(), 60)
            await asyncio.to_thread(deployed.kill, "inferlet", hold["thread_id"])
            assert (await caller.wait(hold["run_id"], 120))["reason"] == "worker_lost"
            await asyncio.to_thread(deployed.wait, lambda: not is_alive(first), 60)
            second = await server()
            assert second != first
            await asyncio.to_thread(deployed.wait, lambda: not deployed.pids("inferlet", hold["thread_id"]), 60)
            await asyncio.to_thread(deployed.wait, lambda: not is_alive(second), 60)
            third = await server()
            assert is_alive(third)
            lines = record.read_text().splitlines()
            assert (lines.count("started"), sum(line.startswith("hold") for line in lines)) == (3, 1)
            await caller.ask("DELETE", f"/api/threads/{hold['thread_id']}", status=204)
            await asyncio.to_thread(deployed.wait, lambda: not is_alive(third), 60)

    asyncio.run(scenario())


def is_alive(pid: int) -> bool:
    """A process that runs; one that nobody has waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
