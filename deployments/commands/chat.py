"""``greenroom chat``: talk to a model from a terminal."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from api.client import Client
from api.turns import Sampling
from deployments.address import Key, Url, last_url
from deployments.console import new_console
from deployments.terminal_chat import TerminalChat

_PROMPT = "> "


def chat(
    url: Url = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Go on with this session.")] = None,
    model: Annotated[str | None, typer.Option(help="The model of a new session.")] = None,
    adapter: Annotated[str | None, typer.Option(help="The adapter of a new session.")] = None,
    system: Annotated[str | None, typer.Option(help="The system prompt of a new session.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token each time.")] = 0.0,
    api_key: Key = None,
) -> None:
    """Chat. The session outlives the terminal: --session takes it up again. /help says what else there is."""
    address = url or last_url()
    with asyncio.Runner() as runner:
        client = Client(address, api_key)
        talk = runner.run(_begin(client, session, model, adapter, system, temperature))
        try:
            _read_lines(runner, talk)
        finally:
            runner.run(client.close())
    again = "" if url is None and address == last_url() else f" --url {address}"
    new_console().print(f"To come back: greenroom chat{again} --session {talk.session_id}")


async def _begin(
    client: Client,
    session_id: str | None,
    model: str | None,
    adapter: str | None,
    system: str | None,
    temperature: float,
) -> TerminalChat:
    console = new_console()
    sampling = Sampling(temperature=temperature) if temperature else None
    if session_id:
        talk = TerminalChat(client.session(session_id), console, sampling)
        await talk.recall()
        return talk
    session = await client.open_session(model, system=system, adapter=adapter)
    view = await session.describe()
    console.print(f"{view.model}, up to {view.max_context} tokens. /help for help, Ctrl-D to leave.")
    return TerminalChat(session, console, sampling)


def _read_lines(runner: asyncio.Runner, talk: TerminalChat) -> None:
    """Until /exit or the end of the input; Ctrl-C at the prompt begins the line again."""
    if sys.stdin.isatty():
        _load_line_editing()
    while True:
        try:
            line = input(_PROMPT if sys.stdin.isatty() else "")
        except EOFError:
            new_console().print()
            return
        except KeyboardInterrupt:
            new_console().print()
            continue
        if not runner.run(talk.take(line)):
            return


def _load_line_editing() -> None:
    """Arrow keys and history, where Python has them."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
