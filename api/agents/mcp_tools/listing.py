"""What an MCP server lists, as JSON that is recorded, and as tools of an agent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace
from typing import Any

from api.agents.inside import inside
from api.agents.mcp_tools.connections import Connections
from api.agents.schemas import reader_of
from api.agents.tools import FunctionTool
from api.errors import InvalidRequest
from api.logs import event_logger
from api.mcp_servers import McpServer
from api.tools import MAX_TOOL_CHARACTERS, MAX_TOOLS, Tool

log = event_logger("greenroom.agent")

Listing = list[dict[str, str]]
"""``name``, ``description`` and ``parameters`` (JSON text) of each tool."""


async def list_tools(server: McpServer, connections: Connections) -> Listing:
    """Those that an agent can have; of the others the log tells why not.

    Raises:
        Exception: the server cannot be used; the sentence has nothing that is secret.
    """
    found = await connections.use(server, lambda connection: connection.tools())
    by_name = {tool.name: tool for tool in found}
    wanted = by_name.keys() if server.tools is None else server.tools
    if missing := [name for name in wanted if name not in by_name]:
        raise LookupError(f"MCP server {server.name!r} has no tool {missing[0]!r:.140}")
    listing: Listing = []
    num_characters = 0
    for name in wanted:
        one = {"name": name, "description": by_name[name].description or ""}
        one["parameters"] = json.dumps(by_name[name].input_schema, ensure_ascii=False)
        size = sum(map(len, one.values()))
        problem = _problem(one)
        if len(listing) >= MAX_TOOLS or num_characters + size > MAX_TOOL_CHARACTERS:
            problem = "an agent can have no more tools"
        if problem is None:
            listing.append(one)
            num_characters += size
        else:
            log.warning("a tool of an MCP server is left out", server=server.name, tool=name[:140], reason=problem)
    return listing


def tools_of(
    server: McpServer, listing: Listing, taken: Collection[str], connections: Connections
) -> Iterator[FunctionTool]:
    """Tools that call the server, of those that it has now. A name that is taken gets the server's before it; one that
    then is, is left out."""
    for one in listing:
        if server.tools is not None and one["name"] not in server.tools:
            continue
        spec = Tool(one["name"], one["description"], one["parameters"])
        if spec.name in taken:
            spec = replace(spec, name=f"{server.name}__{spec.name}"[:128])
        if spec.name not in taken:
            yield FunctionTool(
                spec,
                _caller(server, one["name"], connections),
                reader_of(json.loads(one["parameters"])),
                needs_approval=server.approves(one["name"]),
                timeout_s=server.timeout_s,
                max_calls=server.max_calls,
                retry_safe=server.is_retry_safe(one["name"]),
            )


def _caller(server: McpServer, tool: str, connections: Connections) -> Any:
    async def call(**arguments: Any) -> AsyncIterator[Any]:
        from api.agents.mcp_tools.results import values_of  # here, as the package that it imports

        here = inside.get()
        result = await connections.use(server, lambda connection: connection.call(tool, arguments, here))
        for value in values_of(result):
            yield value

    return call


def _problem(tool: dict[str, str]) -> str | None:
    try:
        Tool(tool["name"], tool["description"], tool["parameters"])
        reader_of(json.loads(tool["parameters"]))
    except InvalidRequest as error:
        return str(error)
    return None
