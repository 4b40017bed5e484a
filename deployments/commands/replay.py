"""``greenroom replay``: a recorded inferlet against its program, or against a changed one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.errors import reason_of
from deployments.abbreviations import only_one
from deployments.attached import with_greenroom
from deployments.commands.inferlets import InferletId
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.home import Record

if TYPE_CHECKING:
    from actors.cluster.greenroom import Greenroom


def replay(
    instance_id: InferletId,
    program: Annotated[Path | None, typer.Option(metavar="FILE", help="Run this source, not the recorded one.")] = None,
    timeout_s: Annotated[float, typer.Option(help="How long the program may make no progress.")] = 30.0,
) -> None:
    """Run a program against an inferlet's recorded history, and say where it differs. Nothing is performed.

    The program runs in this process. The exit code is 0 where it repeats all that was recorded.
    """
    text = None if program is None else _read(program)

    async def scenario(greenroom: Greenroom, _: Record) -> tuple[str, tuple[bytes, ...]]:
        found = only_one("inferlet", await greenroom.recorded_ids(), instance_id, "greenroom ps")
        return found, await greenroom.recorded(found)

    found, lines = with_greenroom(scenario)
    from actors.inferlets import records
    from actors.inferlets.rehearsal import rehearse

    rehearsed = asyncio.run(rehearse(found, [records.decode(line) for line in lines], text, timeout_s))
    new_console().print(f"{rehearsed.sentence[:1].upper()}{rehearsed.sentence[1:]}.")
    raise typer.Exit(0 if rehearsed.repeats_itself else 1)


def _read(program: Path) -> str:
    try:
        return program.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{program} cannot be read: {reason_of(error)}") from None
