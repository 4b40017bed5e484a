"""Agents with the tools of MCP servers, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

from api.agents import Agent, mcp, tool

SERVER = Path(__file__).parents[2] / "api" / "agents" / "mcp" / "server.py"
COMMAND = (sys.executable, str(SERVER))
ENVIRONMENT = {"RECORD": "${GREENROOM_TEST_RECORD}"}


@tool
def add(a: int, b: int) -> str:
    """The agent's own."""
    return f"own {a + b}"


local = Agent(name="local", tools=[add, mcp("things", command=COMMAND, env=ENVIRONMENT)], max_actions=None)
"""Its server is a process of its own."""

remote, shared, hurried = (
    Agent(name=name, tools=[mcp(name)], max_actions=None) for name in ("remote", "shared", "hurried")
)
"""Their servers are the configuration's."""

front = Agent(name="front", tools=[shared], handoffs=[shared], max_actions=None)
