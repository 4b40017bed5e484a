"""``greenroom launch``, ``attach``, ``ps`` and ``kill``: inferlets from a terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.client import Client
from api.wire.inferlet_views import InferletSummaryView
from deployments.abbreviations import only_one
from deployments.address import Key, Url, with_client
from deployments.ago import ago
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.listing import AsJson, id_column, new_table, show_listing
from deployments.terminal_inferlet import TerminalInferlet

InferletId = Annotated[str, typer.Argument(metavar="ID", help="The id, or so much of its start as is unique.")]


def launch(
    program: Annotated[str, typer.Argument(metavar="FILE", help="A Python file, or module:function of those listed.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", help="For the program.")] = None,
    name: Annotated[str | None, typer.Option(help="What `ps` calls it.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print its id, and leave it running.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Upload a program, launch it, and attach: what it sends is printed, and what is typed is sent.

    Ctrl-D detaches, Ctrl-C terminates it after asking.
    """

    is_file = Path(program).is_file()
    if ":" not in program and not is_file:
        raise CommandFailed(f"there is no file {program}")

    async def scenario(client: Client) -> int:
        known = await client.upload_program(program) if is_file else program
        instance = await client.launch_instance(known, arguments or (), name)
        if detach:
            await instance.detach()
            new_console().print(instance.instance_id)
            return 0
        return await TerminalInferlet(instance, new_console(), new_console(stderr=True)).run()

    raise typer.Exit(with_client(url, api_key, scenario))


def attach(
    instance_id: InferletId,
    after: Annotated[int, typer.Option(help="Show what it did after this position.")] = -1,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Attach to an inferlet: what it has sent is printed from the start, and what is typed is sent."""

    async def scenario(client: Client) -> int:
        instance = await client.attach_instance((await _find(client, instance_id)).id, after)
        return await TerminalInferlet(instance, new_console(), new_console(stderr=True)).run()

    raise typer.Exit(with_client(url, api_key, scenario))


def ps(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """Inferlets, the latest used first."""
    found = with_client(url, api_key, Client.list_instances)
    rows = [one.model_dump(mode="json") for one in found]
    show_listing(rows, as_json, lambda: _table(found), "There are no inferlets.")


def kill(instance_id: InferletId, url: Url = None, api_key: Key = None) -> None:
    """Terminate an inferlet. What it has sent can still be read for a while."""

    async def scenario(client: Client) -> str:
        found = await _find(client, instance_id)
        if found.state not in ("running", "waiting"):
            raise CommandFailed(f"inferlet {found.id} has ended already ({found.state})")
        await client.terminate_instance(found.id)
        return found.id

    new_console().print(f"Inferlet {with_client(url, api_key, scenario)} is terminated.")


async def _find(client: Client, start: str) -> InferletSummaryView:
    inferlets = {one.id: one for one in await client.list_instances()}
    return inferlets[only_one("inferlet", inferlets, start, "greenroom ps")]


def _table(inferlets: tuple[InferletSummaryView, ...]) -> Table:
    table = new_table(id_column(), "name", "program", "state", "launched", "last used")
    now = time.time()
    for one in inferlets:
        program = one.program if ":" in one.program else one.program[:12]
        table.add_row(one.id, one.name, program, one.state, ago(now - one.created_at), ago(now - one.last_used_at))
    return table
