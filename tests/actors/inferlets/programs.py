"""Short programs for tests: uploaded and launched on a small cluster."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from typing import TextIO

from actors.inferlets.output import route_streams
from actors.inferlets.ref import InferletRef
from api.inferlet_events import Event, Message
from tests.actors.small_cluster import SmallCluster

KEPT: list[TextIO] = []
"""Every stream that programs have printed to: ``print`` in a thread does not hold the stream that it writes to (CPython
issue 130163), and pytest replaces ``sys.stdout`` while the thread of a program that did not end in time still prints.
"""

HEAD = "from api.inferlet import *\nimport asyncio\n"


def capture_prints() -> None:
    """What programs print goes to them from now on, up to the end of this phase of the test."""
    route_streams()
    KEPT.extend((sys.stdout, sys.stderr))


async def launched(cluster: SmallCluster, source: str, *arguments: str, owner: str = "") -> InferletRef:
    """An instance of this source, behind the imports that it needs."""
    capture_prints()
    program = await cluster.inferlets.upload_program(HEAD + textwrap.dedent(source), "program.py", owner)
    return await cluster.inferlets.launch(program, arguments, owner)


async def all_events(instance: InferletRef, after: int = -1) -> list[Event]:
    """Up to its end."""
    async with asyncio.timeout(30):
        return [event async for event in instance.events(after)]


async def messages(instance: InferletRef, count: int, after: int = -1) -> list[object]:
    """The values of so many messages behind a position; nothing else may come between them."""
    found: list[object] = []
    async with asyncio.timeout(30):
        async for event in instance.events(after):
            assert isinstance(event, Message), event
            found.append(event.value)
            if len(found) == count:
                break
    return found
