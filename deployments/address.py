"""Where a command finds the server, what it says there of itself, and what it asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer

from api.client import Client
from deployments.home import Home
from deployments.plan import DEFAULT_HOST, DEFAULT_PORT, local_url

Answer = TypeVar("Answer")

Url = Annotated[str | None, typer.Option(help="Where Greenroom answers, if not where `up` said.")]
Key = Annotated[
    str | None, typer.Option("--api-key", envvar="GREENROOM_API_KEY", show_envvar=True, help="If the server asks.")
]


def last_url() -> str:
    """What GREENROOM_URL says, else where ``up`` said, else the default address of this machine."""
    record = Home.of_environment().read()
    return os.environ.get("GREENROOM_URL") or (record.url if record else "") or local_url(DEFAULT_HOST, DEFAULT_PORT)


def with_client(
    url: str | None, api_key: str | None, scenario: Callable[[Client], Coroutine[Any, Any, Answer]]
) -> Answer:
    """Connect to the server, run a coroutine function with the client, and disconnect."""

    async def run() -> Answer:
        async with Client(url or last_url(), api_key) as client:
            return await scenario(client)

    return asyncio.run(run())
