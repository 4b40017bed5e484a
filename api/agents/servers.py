"""MCP servers of an agent, as its author writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from api.mcp_servers import McpServer


def mcp(
    name: str,
    *,
    command: Sequence[str] = (),
    url: str | None = None,
    env: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    tools: Collection[str] | None = None,
    needs_approval: bool | Collection[str] = False,
    retry_safe: bool | Collection[str] = False,
    timeout_s: float = 30.0,
    start_timeout_s: float = 30.0,
    max_calls: int | None = None,
) -> McpServer:
    """The tools of an MCP server; see ``McpServer``. With its name alone, one of ``agents.mcp`` in the configuration.

    A tool whose name the agent has already is called ``NAME__`` and its own name.

    Raises:
        InvalidRequest: something is not what it must be.
    """
    return McpServer(
        name,
        tuple(command),
        url,
        dict(env or {}),
        dict(headers or {}),
        None if tools is None else tuple(tools),
        _names(needs_approval),
        _names(retry_safe),
        timeout_s,
        start_timeout_s,
        max_calls,
    )


def _names(given: bool | Collection[str]) -> bool | tuple[str, ...]:
    return given if isinstance(given, bool) else tuple(given)
