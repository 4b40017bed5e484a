"""``greenroom agents``, ``threads`` and ``prompt``: agents from a terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.client import Client
from api.wire.thread_views import AgentView, ThreadView
from deployments.address import Key, Url, with_client
from deployments.ago import ago
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.listing import AsJson, id_column, new_table, show_listing
from deployments.terminal_run import TerminalRun


def agents(
    upload: Annotated[Path | None, typer.Option(metavar="FILE", help="First upload the agents of this file.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Agents that can be prompted."""

    async def scenario(client: Client) -> tuple[AgentView, ...]:
        if upload is not None:
            await client.upload_agents(upload)
        return await client.agents()

    found = with_client(url, api_key, scenario)
    rows = [one.model_dump() for one in found]

    def table() -> Table:
        shown = new_table("name", "source")
        for one in found:
            shown.add_row(one.name, one.source)
        return shown

    show_listing(rows, as_json, table, "There are no agents.")


def threads(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Threads, the latest used first."""

    async def scenario(client: Client) -> tuple[ThreadView, ...]:
        return await client.threads()

    found = with_client(url, api_key, scenario)

    def table() -> Table:
        shown, now = new_table(id_column(), "agent", "name", "begun", "last used"), time.time()
        for one in found:
            name = "" if one.context_id == one.id else one.context_id
            shown.add_row(one.id, one.agent, name, ago(now - one.created_at), ago(now - one.last_used_at))
        return shown

    show_listing([one.model_dump() for one in found], as_json, table, "There are no threads.")


def prompt(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Its name, or a Python file that has one.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is told.")],
    thread: Annotated[str | None, typer.Option(metavar="NAME", help="The thread to go on in, or to begin.")] = None,
    tool: Annotated[str | None, typer.Option(metavar="NAME", help="The tool that its first step must call.")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Prompt an agent: what it says and does is printed as it comes, and what it asks is answered here."""

    async def scenario(client: Client) -> None:
        name = await _uploaded(client, Path(agent)) if agent.endswith(".py") else agent
        response = await client.agent(name).async_prompt(text, thread, tool_choice=tool)
        await TerminalRun(response, new_console(), _read_line).show()
        if thread is None:
            new_console(stderr=True).print(f"To go on: --thread {response.file.id}", style="dim")

    with_client(url, api_key, scenario)


async def _uploaded(client: Client, path: Path) -> str:
    names = [agent.name for agent in await client.upload_agents(path)]
    if len(names) != 1:
        raise CommandFailed(f"{path} has {len(names)} agents: upload them by `greenroom agents --upload`, and name one")
    return names[0]


async def _read_line(question: str) -> str | None:
    new_console().print(question, end="", markup=False)
    line = await asyncio.to_thread(sys.stdin.readline)
    return line.rstrip("\n") if line else None
