"""``greenroom adapters``: LoRA adapters of models that run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from deployments.attached import with_greenroom
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.home import Record
from deployments.listing import AsJson, new_table, show_listing

if TYPE_CHECKING:
    from actors.cluster.greenroom import Greenroom
    from api.cluster import AdapterInfo

app = typer.Typer(help="Load, unload and list the LoRA adapters of a model that runs.", no_args_is_help=True)

Model = Annotated[str | None, typer.Option(help="The model; by default the first one.")]
Name = Annotated[str, typer.Argument(help="What sessions call it.")]


@app.command("list")
def list_adapters(model: Model = None, as_json: AsJson = False) -> None:
    """The adapters of a model: those of its configuration, then those that were loaded."""

    async def ask(greenroom: Greenroom, record: Record) -> tuple[AdapterInfo, ...]:
        return await greenroom.adapters(model)

    found = with_greenroom(ask)
    show_listing([asdict(one) for one in found], as_json, lambda: _table(found), "The model has no adapters.")


@app.command()
def load(
    name: Name,
    path: Annotated[Path, typer.Argument(metavar="DIR", help="As PEFT saves it; the same directory on every node.")],
    model: Model = None,
) -> None:
    """Load an adapter on all actors of a model, and on those that start later, until it is unloaded."""
    if not 1 <= len(name) <= 200 or "/" in name or not name.isprintable():
        raise typer.BadParameter("a name has 1 to 200 characters that can be printed, and no slash")

    async def ask(greenroom: Greenroom, record: Record) -> None:
        await greenroom.load_adapter(model, name, str(path.expanduser().resolve()))

    with_greenroom(ask)
    new_console().print(f"Adapter {name} is loaded.")


@app.command()
def unload(name: Name, model: Model = None) -> None:
    """Unload an adapter that was loaded. Turns that run with it end; later ones fail until it is loaded again."""

    async def ask(greenroom: Greenroom, record: Record) -> bool:
        return await greenroom.unload_adapter(model, name)

    if not with_greenroom(ask):
        raise CommandFailed(f"no adapter was loaded as {name!r}: see `greenroom adapters list`")
    new_console().print(f"Adapter {name} is unloaded.")


def _table(adapters: tuple[AdapterInfo, ...]) -> Table:
    table = new_table("adapter", "from", "ready", "directory")
    for one in adapters:
        source = "configuration" if one.is_configured else "load"
        table.add_row(one.name, source, str(one.num_ready), one.path)
    return table
