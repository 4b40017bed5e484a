"""A server of Python's ``mcp`` package, as a program of its own: on its standard streams, or with a port over HTTP.

What its tools did is in the file that ``RECORD`` names, a line for each.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Elicit, ElicitationResult, Image, MCPServer, Resolve
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel, Field

server = MCPServer("things")


class Order(BaseModel):
    """What a person is asked for."""

    dish: str


@server.tool()
def add(a: int, b: Annotated[int, Field(le=100)], mood: Literal["calm", "wild"] = "calm") -> int:
    """Add two numbers."""
    _record(f"add {a} {b} {mood}")
    return a + b


@server.tool()
def several(text: str) -> Any:
    """Parts of several kinds."""
    return [TextContent(text=text), Image(data=b"\x89PNG", format="png")]


@server.tool()
def place(city: str) -> dict[str, Any]:
    """Where a city is."""
    return {"city": city, "at": [59.9, 10.7]}


@server.tool()
def fail(why: str) -> CallToolResult:
    """Fails."""
    return CallToolResult(content=[TextContent(text=f"no: {why}")], is_error=True)


@server.tool()
def die(name: str) -> str:
    """Ends the server in the middle of the call."""
    _record(f"die {name}")
    os._exit(1)


@server.tool()
async def hold(name: Annotated[str, Field(max_length=8)]) -> str:
    """Never returns."""
    _record(f"hold {name}")
    try:
        await asyncio.sleep(3600)
    finally:
        _record(f"left {name}")
    return name


@server.tool()
def order(asked: Annotated[ElicitationResult[Order], Resolve(lambda: Elicit("Which dish?", Order))]) -> str:
    """Asks what to order."""
    _record(f"order {asked.action}")
    return f"ordered {asked.data.dish}" if asked.action == "accept" else asked.action


@server.tool()
def variable(name: str) -> str:
    """One of its environment variables."""
    return os.environ.get(name, "none")


@server.tool()
def process() -> str:
    """The number of its process."""
    return str(os.getpid())


def _record(line: str) -> None:
    if path := os.environ.get("RECORD"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


if __name__ == "__main__":
    _record("started")
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
