"""Agents, as their authors write them.

from api.agents import Agent, tool

@tool(needs_approval=True)
async def order(dish: str) -> str:
    \"\"\"Order a dish.\"\"\"
    ...

waiter = Agent(name="waiter", system="You are a waiter.", tools=[order])
"""

from api.agents.acting import call, emit, handoff
from api.agents.agent import Agent
from api.agents.call_context import CallContext
from api.agents.failures import CallFailed
from api.agents.http_tools import http_tool
from api.agents.inside import ask, context, memory, status
from api.agents.prompts import Prompt
from api.agents.results import File
from api.agents.servers import mcp
from api.agents.shapes import agent
from api.agents.tools import ClientTool, FunctionTool, client_tool, tool

__all__ = [
    "Agent",
    "CallContext",
    "CallFailed",
    "ClientTool",
    "File",
    "FunctionTool",
    "Prompt",
    "agent",
    "ask",
    "call",
    "client_tool",
    "context",
    "emit",
    "handoff",
    "http_tool",
    "mcp",
    "memory",
    "status",
    "tool",
]
