"""``greenroom status``: what runs, where, and how loaded it is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from api.errors import GreenroomError
from deployments.attached import ANSWER_S, with_cluster
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.home import Record
from deployments.listing import AsJson, new_table

if TYPE_CHECKING:
    from deployments.overview import ModelOverview, Overview

ANSWER_OF_FAILED_S = 2.0


def status(as_json: AsJson = False) -> None:
    """Models and their load, sessions, gateways, the journal; where a part cannot run, why, and exit code 1."""
    found = with_cluster(_look)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
    else:
        _show(found, new_console())
    if found.problem:
        raise CommandFailed(found.problem)


async def _look(record: Record) -> Overview:
    from actors.cluster.greenroom import Greenroom  # takes seconds, as these do
    from deployments.overview import overview_of
    from deployments.serving import problem

    if failed := await asyncio.to_thread(problem):
        try:
            greenroom = await Greenroom.connect(timeout_s=ANSWER_OF_FAILED_S)
        except GreenroomError:
            raise CommandFailed(failed) from None
    else:
        greenroom = await Greenroom.connect(ANSWER_S)
    return await overview_of(greenroom, record.address)


def _show(found: Overview, console: Console) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    num_sessions = found.num_active + found.num_passive
    for name, value in (
        ("Greenroom", f"{found.state.lower().replace('_', ' ')}, {found.url or 'no address'}"),
        ("Gateways", str(found.num_gateways)),
        ("Sessions", f"{num_sessions}: {found.num_active} active, {found.num_passive} passive"),
        ("Journal", found.journal),
        ("Ray", f"{found.ray_version} at {found.ray_address}, nodes: {found.num_nodes}"),
    ):
        facts.add_row(name, value)
    console.print(facts)
    console.print()
    console.print(_table(found.models))
    for model in found.models:
        if model.counters:
            counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(model.counters.items()))
            console.print(f"{model.name}: {counts}")


def _table(models: tuple[ModelOverview, ...]) -> Table:
    table = new_table("model", "engine")
    for name in ("ready", "context", "contexts", "running", "waiting", "KV in use"):
        table.add_column(name, justify="right")
    for model in models:
        ready = "passive" if model.is_passive else str(model.num_ready)
        ready += f" (+{model.num_draining} draining)" if model.num_draining else ""
        table.add_row(
            model.name,
            f"{model.engine} on {', '.join(model.devices)}" if model.devices else model.engine,
            ready,
            str(model.max_context),
            str(model.num_contexts),
            str(model.num_running),
            str(model.num_waiting),
            f"{model.kv_use:.0%}",
        )
    return table
