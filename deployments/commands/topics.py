"""``greenroom pub``, ``greenroom sub`` and ``greenroom topics``: topics from a terminal."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.table import Table

from api.client import Client
from api.errors import reason_of
from api.topics import Cursor, Lagged, NewEpoch, TopicEvent, TopicInfo, TopicMessage
from api.values import Value
from api.wire.topic_views import TopicView
from deployments.address import Key, Url, with_client
from deployments.console import new_console
from deployments.listing import AsJson, new_table, show_listing

app = typer.Typer(help="List and delete topics.", no_args_is_help=True)

Topic = Annotated[str, typer.Argument(help="A name; everybody's where it begins with public/.")]


def pub(
    topic: Topic,
    message: Annotated[str, typer.Argument(help="The message; - takes the standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="The message is a JSON value.")] = False,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Publish a message to a topic."""
    text = sys.stdin.read() if message == "-" else message
    try:
        value: Value = json.loads(text) if as_json else text
    except ValueError as error:
        raise typer.BadParameter(f"the message is not JSON: {reason_of(error)}") from None
    published = with_client(url, api_key, lambda client: client.publish(topic, value))
    new_console(stderr=True).print(f"position {published.position}, {published.num_subscribers} subscribers")


def sub(
    topic: Topic,
    after: Annotated[str | None, typer.Option(metavar="EPOCH:POSITION", help="Go on after this place.")] = None,
    replay: Annotated[bool, typer.Option(help="Begin with what is retained, or with the next message.")] = True,
    count: Annotated[int | None, typer.Option(min=1, help="Leave after so many messages.")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Print a topic's messages as they come, one a line; what is missing is said on stderr."""
    place = Cursor.parse(after) if after else None
    try:
        with_client(url, api_key, lambda client: _follow(client, topic, place, replay, count))
    except KeyboardInterrupt:
        return


@app.command("list")
def list_topics(as_json: AsJson = False, url: Url = None, api_key: Key = None) -> None:
    """The caller's topics and the public ones, by name."""
    found = with_client(url, api_key, Client.topics)
    rows = [TopicView.of(topic).model_dump(mode="json") for topic in found]
    show_listing(rows, as_json, lambda: _table(found), "There are no topics.")


@app.command()
def delete(topic: Topic, url: Url = None, api_key: Key = None) -> None:
    """Delete a topic with its messages; those who read it are told."""
    with_client(url, api_key, lambda client: client.delete_topic(topic))
    new_console().print(f"Topic {topic} is deleted.")


def _table(topics: tuple[TopicInfo, ...]) -> Table:
    table = new_table("topic", "retained", "end", "subscribers", "messages/s", "durable")
    for one in topics:
        counts = (one.end - one.first, one.end, one.num_subscribers, round(one.rate, 1))
        table.add_row(one.topic.name, *map(str, counts), "yes" if one.is_durable else "no")
    return table


async def _follow(client: Client, topic: str, after: Cursor | None, replay: bool, count: int | None) -> None:
    num_left = count
    async with await client.subscribe(topic, after=after, replay=replay) as subscription:
        async for event in subscription:
            _show(event)
            if num_left is not None and isinstance(event, TopicMessage):
                num_left -= 1
                if num_left == 0:
                    return


def _show(event: TopicEvent) -> None:
    match event:
        case TopicMessage(value=value):
            typer.echo(_line(value))
        case Lagged(missed=missed):
            new_console(stderr=True).print(f"{missed} messages are no longer retained")
        case NewEpoch():
            new_console(stderr=True).print("the topic has begun anew; messages may be missing")


def _line(value: Value) -> str | bytes:
    return value if isinstance(value, str | bytes) else json.dumps(value, ensure_ascii=False)
