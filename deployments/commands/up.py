"""``greenroom up``: Ray, Serve and Greenroom on this machine, with one command."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import typer

from deployments.console import Steps, new_console
from deployments.fall import take_down
from deployments.home import Home
from deployments.plan import Options, make_plan
from deployments.private import OTHERS, close_journal, close_to_others
from deployments.ray_head import token_file
from deployments.rise import Rise

_MODEL_HELP = (
    "A model: pocket (the embedded one), a directory, a GGUF file, ORG/NAME[@REVISION] of the Hugging Face hub, or "
    "NAME=any of them. Repeatable; the first is default."
)


def up(
    model: Annotated[list[str] | None, typer.Option(help=_MODEL_HELP)] = None,
    alias: Annotated[list[str] | None, typer.Option(help="One more name of the default model. Repeatable.")] = None,
    config: Annotated[Path | None, typer.Option(help="cluster.yaml, or just what is under its args.")] = None,
    engine: Annotated[str | None, typer.Option(help="The engine that runs the models: torch, vllm, or auto.")] = None,
    host: Annotated[str | None, typer.Option(help="Where to listen; 127.0.0.1 lets in this machine only.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Where to listen; 8000 if not said.")] = None,
    journal: Annotated[str | None, typer.Option(help="The file, or postgresql://…, that sessions are kept in.")] = None,
    ray_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Start Ray on this port, whatever else runs here.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until everything must be ready.")] = 300,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let everybody in who reaches --host, though there are no API keys.")
    ] = False,
    foreground: Annotated[bool, typer.Option("--foreground", "--block", help="Stay; Ctrl-C takes it down.")] = False,
) -> None:
    """Bring Greenroom up on this machine, or update the one that runs. Ray is started where none runs."""
    plan = make_plan(Options(model or (), config, engine, host, port, journal, alias or ())).for_one_machine()
    os.umask(OTHERS)
    home = Home.of_environment()
    home.close()
    close_journal(plan.config.journal)
    close_to_others(token_file())
    console = new_console()
    with Steps(console) as steps:
        rise = Rise(plan, home, steps, time.monotonic() + timeout, without_keys)
        try:
            rise.run(ray_port)
        except BaseException:
            rise.undo()
            raise
    console.print(f"OpenAI API: {rise.url}/v1")
    console.print(f"Chat: {rise.url}/")
    if foreground:
        asked = _asked_to_end()
        console.print("Ctrl-C ends it.")
        asked.wait()
        take_down(home, keep_sessions=False, say=console.print)
    else:
        console.print("`greenroom status` says how it is, `greenroom down` ends it.")


def _asked_to_end() -> Event:
    """Set from now on by Ctrl-C, and by a signal to end."""
    asked = Event()

    def note(number: int, frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return asked
