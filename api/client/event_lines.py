"""Server-sent events as they come over a connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from api.http.event_stream import KEEP_ALIVE_S

SILENCE_S = 3 * KEEP_ALIVE_S
"""A connection on which nothing at all has come for so long is given up."""


async def events_in(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, dict[str, Any], str]]:
    """Name, data and id of each event; a block that has only an id has no name."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if fields.keys() & {"data", "id"}:
                yield fields.get("event", ""), json.loads(fields.get("data", "{}")), fields.get("id", "")
            fields = {}
