"""``greenroom journal``: back a journal up, restore it, check it, and copy it from one place to another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from actors.settings import JournalSettings
from api.errors import Unavailable
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.plan import Options, read_plan

app = typer.Typer(help="Back up, restore, check and copy the journal.", no_args_is_help=True)

Answer = TypeVar("Answer")

Journal = Annotated[str | None, typer.Option("--journal", help="The file, or postgresql://…; by default that of `up`.")]
Config = Annotated[Path | None, typer.Option("--config", help="The configuration that names it.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The copy; that of durable topics is beside it.")]


@app.command()
def backup(file: File, journal: Journal = None, config: Config = None) -> None:
    """Copy the journal to a new file, as it is at one moment. A server may run meanwhile."""
    if file.exists():
        raise CommandFailed(f"{file} is there already")
    _copy(_settings(journal, config), JournalSettings(str(file)), is_source_in_use=True)


@app.command()
def restore(file: File, journal: Journal = None, config: Config = None) -> None:
    """Copy a file that `backup` made to a journal that has nothing, and that no server has."""
    _copy(JournalSettings(str(file)), _settings(journal, config))


@app.command("copy")
def copy_to(
    to: Annotated[str, typer.Option(help="A file or a database that has no journal yet.")],
    journal: Journal = None,
    config: Config = None,
) -> None:
    """Copy the journal to another place, as from a file to a database and back. No server may have it."""
    _copy(_settings(journal, config), _settings(to, None))


@app.command()
def check(journal: Journal = None, config: Config = None) -> None:
    """Whether the journal can be read, whole; exit code 1 where not. A server may run meanwhile."""
    settings = _settings(journal, config)
    found = _run(_faults(settings))
    for fault in found:
        new_console().print(fault)
    if found:
        raise typer.Exit(1)
    new_console().print(f"{settings.place} can be read, whole.")


async def _faults(settings: JournalSettings) -> list[str]:
    from actors.inferlets.records import decode as decode_inferlet
    from actors.journal.copies import faults
    from actors.journal.keys import INFERLET, SESSION
    from actors.sessions.records import decode_all, decode_line

    def decode_session(line: bytes) -> object:
        for _ in decode_all(line):
            pass
        return decode_line(line)

    return [fault async for fault in faults(settings, {SESSION: decode_session, INFERLET: decode_inferlet})]


def _copy(source: JournalSettings, target: JournalSettings, *, is_source_in_use: bool = False) -> None:
    from actors.journal.copies import copy

    counts = _run(copy(source, target, is_source_in_use=is_source_in_use))
    said = f"{counts['journal.streams']} sessions and inferlets, {counts['topics.streams']} topics and queues"
    new_console().print(f"{source.place} is copied to {target.place}: {said}, {sum(counts.values())} rows.")


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        return asyncio.run(work)
    except ImportError:
        raise CommandFailed("a journal on PostgreSQL needs asyncpg: pip install 'greenroom[postgres]'") from None
    except Unavailable as error:
        raise CommandFailed(str(error)) from None


def _settings(journal: str | None, config: Path | None) -> JournalSettings:
    return read_plan(Options(config=config, journal=journal)).config.journal
