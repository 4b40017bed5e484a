"""Short programs for tests: uploaded and launched on a small cluster."""

from __future__ import annotations

import asyncio
import textwrap

from actors.inferlet.output import route_streams
from actors.inferlet_ref import InferletRef
from api.inferlet_events import Event
from tests.actors.small_cluster import SmallCluster

HEAD = "from api.inferlet import *\nimport asyncio\n"


async def launched(cluster: SmallCluster, source: str, *arguments: str, owner: str = "") -> InferletRef:
    """An instance of this source, behind the imports that it needs."""
    route_streams()
    program = await cluster.inferlets.upload_program(HEAD + textwrap.dedent(source), "program.py", owner)
    return await cluster.inferlets.launch(program, arguments, owner)


async def all_events(instance: InferletRef, after: int = -1) -> list[Event]:
    """Up to its end."""
    async with asyncio.timeout(15):
        return [event async for event in instance.events(after)]
