"""The ``greenroom`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from api.errors import GreenroomError, reason_of
from deployments.commands import adapters, journal, queues, sessions, topics
from deployments.commands.agents import agents, prompt, threads
from deployments.commands.chat import chat
from deployments.commands.check import check
from deployments.commands.deploy import deploy
from deployments.commands.down import down
from deployments.commands.inferlets import attach, kill, launch, ps
from deployments.commands.models import models
from deployments.commands.replay import replay
from deployments.commands.status import status
from deployments.commands.topics import pub, sub
from deployments.commands.up import up
from deployments.console import new_console
from deployments.failures import CommandFailed, sentence_of_system


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"greenroom {version('greenroom')}")
        raise typer.Exit


app = typer.Typer(
    name="greenroom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def greenroom(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version, and leave.")
    ] = False,
) -> None:
    """Sessions with language models that survive any crash, on Ray."""


for command in (
    up,
    check,
    deploy,
    status,
    models,
    chat,
    launch,
    attach,
    ps,
    kill,
    agents,
    threads,
    prompt,
    replay,
    pub,
    sub,
    down,
):
    app.command()(command)
app.add_typer(adapters.app, name="adapters")
app.add_typer(journal.app, name="journal")
app.add_typer(sessions.app, name="sessions")
app.add_typer(topics.app, name="topics")
app.add_typer(queues.app, name="queues")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what an operator can mend is said in one sentence, with exit code 1."""
    try:
        app(arguments)
    except (CommandFailed, GreenroomError) as error:
        _end(reason_of(error))
    except OSError as error:
        _end(sentence_of_system(error))


def _end(reason: str) -> NoReturn:
    new_console(stderr=True).print(f"greenroom: {reason}", style="red")
    sys.exit(1)


if __name__ == "__main__":
    main()
