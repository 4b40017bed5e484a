"""``greenroom sessions``: every owner's sessions, as the operator sees them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text as Plain

from api.errors import InUse, SessionNotFound
from api.settings import LONGEST_OWNER
from api.turns import Message, Part, Text, Tokens
from deployments.abbreviations import only_one
from deployments.ago import ago
from deployments.attached import with_greenroom
from deployments.console import new_console
from deployments.failures import CommandFailed
from deployments.home import Record
from deployments.listing import AsJson, id_column, new_table, show_listing

if TYPE_CHECKING:
    from actors.cluster.greenroom import Greenroom
    from api.cluster import SessionDescription, SessionSummary, TurnRecord

app = typer.Typer(help="List, show, give, close and purge the sessions of all owners.", no_args_is_help=True)

SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id, or so much of its start as is unique.")]


@app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """All sessions, the latest used first."""

    async def ask(greenroom: Greenroom, record: Record) -> tuple[SessionSummary, ...]:
        return await greenroom.directory.sessions(None)

    found = with_greenroom(ask)
    rows = [asdict(session) for session in found]
    show_listing(rows, as_json, lambda: _table(found), "There are no sessions.")


@app.command()
def show(session_id: SessionId) -> None:
    """One session and its turns. A passive session becomes active by it."""

    async def ask(greenroom: Greenroom, record: Record) -> tuple[str, SessionDescription]:
        summary = await _find(greenroom, session_id)
        session = await greenroom.session(summary.session_id, summary.owner)
        return summary.owner, await session.describe()

    _show(*with_greenroom(ask), new_console())


@app.command()
def close(session_id: SessionId) -> None:
    """Close a session for good: its context is freed, and its journal deleted."""

    async def ask(greenroom: Greenroom, record: Record) -> str:
        found = (await _find(greenroom, session_id)).session_id
        await greenroom.directory.close(found)
        return found

    new_console().print(f"Session {with_greenroom(ask)} is closed.")


@app.command()
def give(
    names: Annotated[list[str], typer.Argument(metavar="[ID] OWNER", help="The session, and whose it is to be.")],
    everything: Annotated[bool, typer.Option("--all", help="All sessions of one owner.")] = False,
    giver: Annotated[
        str, typer.Option("--from", metavar="OWNER", help="With --all: whose; if not said, nobody's.")
    ] = "",
) -> None:
    """Give sessions to an owner: those that were opened before there were API keys are nobody's."""
    if len(names) != (1 if everything else 2):
        raise typer.BadParameter("say ID OWNER, or --all OWNER")
    owner = names[-1]
    if not 1 <= len(owner) <= LONGEST_OWNER:
        raise typer.BadParameter(f"an owner has 1 to {LONGEST_OWNER} characters")

    async def give_them(greenroom: Greenroom, record: Record) -> tuple[int, list[str]]:
        if everything:
            session_ids = [one.session_id for one in await greenroom.directory.sessions(giver)]
        else:
            session_ids = [(await _find(greenroom, names[0])).session_id]
        return await _give(greenroom, session_ids, owner)

    num_given, at_work = with_greenroom(give_them)
    new_console().print(f"{num_given} session{'s' * (num_given != 1)} given to {owner}.")
    if at_work:
        raise CommandFailed(f"{len(at_work)} not, since they are at work; try again: {', '.join(at_work)}")


async def _give(greenroom: Greenroom, session_ids: list[str], owner: str) -> tuple[int, list[str]]:
    """How many were given, and those that were at work."""
    at_work, num_gone = [], 0
    for session_id in session_ids:
        try:
            await greenroom.directory.give(session_id, owner)
        except InUse:
            at_work.append(session_id)
        except SessionNotFound:
            num_gone += 1
    return len(session_ids) - len(at_work) - num_gone, at_work


@app.command()
def purge(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Close every session of every owner for good."""

    async def count(greenroom: Greenroom, record: Record) -> int:
        return len(await greenroom.directory.sessions(None))

    async def close_all(greenroom: Greenroom, record: Record) -> int:
        return await greenroom.directory.purge()

    if not yes:
        typer.confirm(f"Close {with_greenroom(count)} sessions for good?", abort=True)
    new_console().print(f"{with_greenroom(close_all)} sessions are closed.")


async def _find(greenroom: Greenroom, start: str) -> SessionSummary:
    sessions = {one.session_id: one for one in await greenroom.directory.sessions(None)}
    return sessions[only_one("session", sessions, start, "greenroom sessions list")]


def _table(sessions: tuple[SessionSummary, ...]) -> Table:
    table = new_table(id_column(), "owner", "model", "state", "opened", "last used", "title")
    now = time.time()
    for session in sessions:
        times = (ago(now - session.created_at), ago(now - session.last_used_at))
        table.add_row(
            session.session_id, session.owner or "-", session.model, session.state, *times, Plain(session.title)
        )
    return table


def _show(owner: str, session: SessionDescription, console: Console) -> None:
    console.print(f"Session {session.session_id} of {owner or 'nobody in particular'}, model {session.model}")
    console.print(
        f"{session.length} of {session.max_context} tokens, {session.num_resident} of them resident; "
        f"retention {session.retention.policy}; {len(session.turns)} turns"
    )
    for turn in session.turns:
        console.print()
        for part in turn.prompt:
            _show_part(part, console)
        console.print(f"assistant: {turn.text}")
        console.print(f"  [{_summary(turn)}]", style="dim")


def _show_part(part: Part, console: Console) -> None:
    match part:
        case Message(role, content):
            console.print(f"{role}: {content}")
        case Text(text):
            console.print(f"text: {text}")
        case Tokens(ids):
            console.print(f"tokens: {len(ids)}")


def _summary(turn: TurnRecord) -> str:
    end = turn.finish.reason if turn.finish else "running"
    return f"turn {turn.turn_id}: {turn.num_output} tokens, {end}; tokens {turn.base_length} to {turn.end_length}"
