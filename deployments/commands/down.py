"""``greenroom down``: ends what ``greenroom up`` began."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.console import new_console
from deployments.fall import take_down
from deployments.home import Home


def down(
    keep_sessions: Annotated[
        bool, typer.Option("--keep-sessions", help="Leave the session actors where they are, and Ray with them.")
    ] = False,
) -> None:
    """Take Greenroom down, and Ray if `up` started it. Sessions stay in the journal; nothing else is touched."""
    take_down(Home.of_environment(), keep_sessions, say=new_console().print)
