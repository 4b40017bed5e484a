"""A thread's events over as many connections as it takes, without loss or repeat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

from api.client.event_lines import events_in
from api.client.remote_errors import error_of
from api.client.server import Server
from api.errors import GreenroomError, Unavailable


async def thread_events(
    server: Server, thread_id: str, query: dict[str, str]
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Names and data; to the end of the run that the query names, without one for ever.

    Raises:
        GreenroomError: it cannot be read any further.
    """
    patience, query = server.new_patience(), dict(query)
    is_over = False
    while True:
        try:
            async with server.stream(f"/api/threads/{thread_id}/stream", query) as response:
                async for name, data, event_id in events_in(response.aiter_lines()):
                    patience.renew()
                    if name == "error":
                        raise error_of(data["code"], data["message"])
                    if name == "run.ended":
                        is_over = is_over or data["run"]["id"] == query.get("run_id")
                    yield name, data
                    query["after"] = event_id
            if is_over:
                return
            raise Unavailable("the server ended the stream")
        except (httpx.TransportError, httpx.StreamError, GreenroomError) as error:
            if is_over:
                return
            await patience.outlast(error)
