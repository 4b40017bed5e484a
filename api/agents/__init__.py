"""Agents, as their authors write them.

from api.agents import Agent, tool

@tool(needs_approval=True)
async def order(dish: str) -> str:
    \"\"\"Order a dish.\"\"\"
    ...

waiter = Agent(name="waiter", system="You are a waiter.", tools=[order])
"""

from api.agents.agent import Agent
from api.agents.http_tools import http_tool
from api.agents.inside import CallContext, ask, context, memory, status
from api.agents.results import File
from api.agents.servers import mcp
from api.agents.tools import ClientTool, FunctionTool, client_tool, tool

__all__ = [
    "Agent",
    "CallContext",
    "ClientTool",
    "File",
    "FunctionTool",
    "ask",
    "client_tool",
    "context",
    "http_tool",
    "mcp",
    "memory",
    "status",
    "tool",
]
