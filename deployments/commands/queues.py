"""``greenroom queues``: queues from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from api.client import Client
from api.queues import QueueInfo
from api.wire.topic_views import QueueView
from deployments.address import Key, Url, with_client
from deployments.console import new_console
from deployments.listing import AsJson, new_table, show_listing

app = typer.Typer(help="List and delete queues.", no_args_is_help=True)


@app.command("list")
def list_queues(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """The caller's queues and the public ones, by name."""
    found = with_client(url, api_key, Client.queues)
    rows = [QueueView.of(queue).model_dump(mode="json") for queue in found]
    show_listing(rows, as_json, lambda: _table(found), "There are no queues.")


@app.command()
def delete(
    queue: Annotated[str, typer.Argument(help="A name; everybody's where it begins with public/.")],
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Delete a queue with its items, held ones too."""
    with_client(url, api_key, lambda client: client.delete_queue(queue))
    new_console().print(f"Queue {queue} is deleted.")


def _table(queues: tuple[QueueInfo, ...]) -> Table:
    table = new_table("queue", "items", "in hands", "consumers waiting", "durable")
    for one in queues:
        counts = (one.num_ready, one.num_held, one.num_waiting)
        table.add_row(one.queue.name, *map(str, counts), "yes" if one.is_durable else "no")
    return table
