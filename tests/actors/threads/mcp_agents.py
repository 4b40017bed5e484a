"""Agents with the tools of MCP servers, for tests, and how their tools are called."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from api.agents import Agent, Prompt, agent, call, emit, mcp, tool
from tests.actors.threads.caller import Caller, Json

SERVER = Path(__file__).parents[2] / "api" / "agents" / "mcp" / "server.py"
COMMAND = (sys.executable, str(SERVER))
ENVIRONMENT = {"RECORD": "${GREENROOM_TEST_RECORD}"}


@tool
def add(a: int, b: int) -> str:
    """The agent's own."""
    return f"own {a + b}"


local = Agent(name="local", tools=[add, mcp("things", command=COMMAND, env=ENVIRONMENT)], max_actions=None)
"""Its server is a process of its own."""

remote, shared, hurried, everything = (
    Agent(name=name, tools=[mcp(name)], max_actions=None) for name in ("remote", "shared", "hurried", "everything")
)
"""Their servers are the configuration's."""

front = Agent(name="front", tools=[shared], handoffs=[shared], max_actions=None)


@agent(tools=[add, mcp("shared")])
async def adder(prompt: Prompt) -> None:
    """Adds with its own tool and with the server's."""
    own, told = await asyncio.gather(call(add, a=1, b=2), call("shared__add", a=1, b=2))
    await emit("message", f"{own}, {told}")


NAMES = ("local", "remote", "shared", "hurried", "everything", "front", "adder")
AGENTS = {name: f"{__name__}:{name}" for name in NAMES}


async def called(caller: Caller, agent: str, name: str, arguments: str = "{}", context: str = "c") -> Json:
    """The result of one call that a run makes."""
    kinds = "&kinds=tool_result"
    answer = await caller.prompt(f"call {name} {arguments}", context, agent)
    assert answer["run"]["state"] == "succeeded", answer["run"]
    [result] = await caller.blocks(answer["thread_id"], f"run_id={answer['run']['id']}{kinds}")
    return result
