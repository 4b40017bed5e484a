"""What a command lists: a table for people, or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from deployments.console import new_console

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def show_listing(rows: Sequence[Mapping[str, Any]], as_json: bool, table: Callable[[], Table], nothing: str) -> None:
    """Print the rows as JSON, or the table, or where there are none a sentence."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        new_console().print(table())
    else:
        new_console().print(nothing)


def new_table(*columns: Column | str) -> Table:
    """A table with these columns."""
    return Table(*columns, box=None, padding=(0, 2, 0, 0), header_style="bold")


def id_column() -> Column:
    """A column of ids, which are not broken."""
    return Column("id", no_wrap=True, min_width=32)
