"""Where a command finds the server, and what it says there of itself."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deployments.home import Home
from deployments.plan import DEFAULT_HOST, DEFAULT_PORT, local_url

Url = Annotated[str | None, typer.Option(help="Where Greenroom answers, if not where `up` said.")]
Key = Annotated[
    str | None, typer.Option("--api-key", envvar="GREENROOM_API_KEY", show_envvar=True, help="If the server asks.")
]


def last_url() -> str:
    """What GREENROOM_URL says, else where ``up`` said, else the default address of this machine."""
    record = Home.of_environment().read()
    return os.environ.get("GREENROOM_URL") or (record.url if record else "") or local_url(DEFAULT_HOST, DEFAULT_PORT)
