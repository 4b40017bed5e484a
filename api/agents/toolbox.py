"""What the agents of one thread may call: their own tools, and those of their MCP servers once these have told them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial

from api.agents.agent import Agent, Callables
from api.agents.call_context import CallContext
from api.agents.failures import Failed
from api.agents.mcp_tools.connections import Connections
from api.agents.mcp_tools.listing import Listing, list_tools, tools_of
from api.agents.tools import ClientTool
from api.agents.work import work_of
from api.inferlet.host import host
from api.inferlet.work_effects import Abandoned, NextOutput
from api.mcp_servers import McpServer
from api.threads.runs import Run
from api.tools import Tool

Listings = dict[str, Listing]
"""What each server of each agent has told, by ``AGENT/SERVER``."""


class Toolbox:
    """A server tells its tools once in a thread, and what it told is recorded: later lives of the thread have the same.

    ``configured`` are the servers that an agent can have by their names.
    """

    def __init__(self, configured: Mapping[str, McpServer]) -> None:
        self._configured = configured
        self._connections = Connections()
        self._listings: Listings = {}
        self._noted: frozenset[str] = frozenset()
        self._found: dict[str, dict[str, Callables]] = {}

    def get(self, agent: Agent, name: str, of_caller: Sequence[Tool] = ()) -> Callables | None:
        """What the agent's model calls by this name, of its own first; None where there is nothing."""
        asked = (ClientTool(tool) for tool in of_caller if tool.name == name)
        return self._of(agent).get(name) or next(asked, None)

    def specs(self, agent: Agent, of_caller: Sequence[Tool] = ()) -> tuple[Tool, ...]:
        """What the agent's model is told."""
        own = self._of(agent)
        return (*(tool.spec for tool in own.values()), *(tool for tool in of_caller if tool.name not in own))

    def unlisted(self, agent: Agent) -> list[McpServer]:
        """The servers of the agent whose tools are not known yet."""
        return [server for server in agent.servers if _key(agent, server) not in self._listings]

    async def complete(self, agent: Agent, run: Run) -> None:
        """Have the servers of the agent that have not told their tools tell them now.

        Raises:
            Failed: one of them cannot.
        """
        unlisted = self.unlisted(agent)
        if not unlisted:
            return
        async with asyncio.TaskGroup() as group:
            told = {_key(agent, one): group.create_task(self._list(one, run)) for one in unlisted}
        found = {key: task.result() for key, task in told.items()}
        self.restore({key: one for key, one in found.items() if not isinstance(one, str)})
        for problem in found.values():
            if isinstance(problem, str):
                raise Failed("tool_error", problem)

    @property
    def note(self) -> Listings:
        """What servers have told since ``noted`` was called."""
        return {key: listing for key, listing in self._listings.items() if key not in self._noted}

    def noted(self) -> None:
        """What they have told so far is noted."""
        self._noted = frozenset(self._listings)

    def restore(self, listings: Listings) -> None:
        """What servers have told, now or in an earlier life."""
        self._listings |= listings
        self._found.clear()

    def close(self) -> None:
        """Leave the servers."""
        self._connections.close()

    def _of(self, agent: Agent) -> dict[str, Callables]:
        if agent.name not in self._found:
            tools: dict[str, Callables] = {one.name: one for one in agent.callables}
            for server in agent.servers:
                listing = self._listings.get(_key(agent, server), [])
                found = tools_of(self._resolved(server) or server, listing, tools, self._connections)
                tools |= {tool.name: tool for tool in found}
            self._found[agent.name] = tools
        return self._found[agent.name]

    def _resolved(self, server: McpServer) -> McpServer | None:
        return self._configured.get(server.name) if server.is_reference else server

    async def _list(self, asked: McpServer, run: Run) -> Listing | str:
        """What a server tells, or why it does not."""
        server = self._resolved(asked)
        if server is None:
            return f"no MCP server is configured as {asked.name!r}"
        context = CallContext(run.agent, run.thread_id, run.id, f"{run.id}/mcp/{asked.name}")
        work = work_of(context, partial(list_tools, server, self._connections), {})
        try:
            output = await host().begin(NextOutput(work, 0, may_run_again=True))
        finally:
            host().tell(Abandoned(work.id))
        value = output.value
        assert isinstance(value, list), "parts, or the class and the sentence of an error"
        if output.kind == "raised":
            return str(value[1])
        listing: Listing = json.loads(value[0]["text"])
        return listing


def _key(agent: Agent, server: McpServer) -> str:
    return f"{agent.name}/{server.name}"
