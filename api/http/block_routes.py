"""Blocks of threads over HTTP.

| route | query | answer |
|---|---|---|
| `GET /api/blocks/{id}` | | 200 `{block}` |
| `GET /api/blocks/{id}/raw` | `part` | 200 its bytes, as they come while it is open; those of a file once it is not |
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import BlockNotFound, ThreadDeleted, ThreadNotFound
from api.http.agent_routes import agents_of, view_response
from api.http.disconnects import while_connected
from api.http.event_stream import GrowingResponse
from api.http.limits import become_stream
from api.http.operations import Operation
from api.http.security import owner_of
from api.http.thread_queries import whole_number
from api.threads.blocks import Block, thread_of
from api.threads.contract import StreamQuery, ThreadHandle
from api.wire.thread_views import BlockView, OneBlockView

MAX_PART = 10**6

RAW_HEADERS = {
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}
"""What a tool has made is no page of this server."""

_BLOCK = "/api/blocks/{block_id}"


def block_routes() -> list[BaseRoute]:
    """Blocks."""
    part = Annotated[int, Field(ge=0)]
    return [
        Operation("GET", _BLOCK, show_block, answers={200: OneBlockView}),
        Operation("GET", f"{_BLOCK}/raw", show_bytes, query={"part": part}, answers={200: "*/*"}),
    ]


async def show_block(request: Request) -> Response:
    block = await (await _thread_of_block(request)).block(_block_id(request))
    return view_response(OneBlockView(block=BlockView.of(block)))


async def show_bytes(request: Request) -> Response:
    thread = await _thread_of_block(request)
    block = await thread.block(_block_id(request))
    number = whole_number("part", request.query_params, 0, MAX_PART) or 0
    if block.state != "open" or block.kind == "ask":  # what is asked does not grow
        part = block.part(number)
        return Response(part.content, media_type=part.mime_type, headers=RAW_HEADERS)
    become_stream(request.scope)
    pieces = _growing(thread, block, number)
    first = await while_connected(request, _first(pieces))
    part = (await thread.block(block.id)).part(number)
    return GrowingResponse(pieces, first, RAW_HEADERS, part.mime_type)


async def _growing(thread: ThreadHandle, block: Block, number: int) -> AsyncGenerator[bytes]:
    """The bytes of a part from the first on, until its block closes; those of a file come then."""
    num_sent = 0
    events: Any = thread.stream(str(block.seq - 1), StreamQuery(block.run_id, frozenset((block.kind,))))
    async with aclosing(events):
        async for event in events:
            data, piece = event.data, b""
            if event.name == "block.delta":
                if (data["block_id"], data["part"]) == (block.id, number):
                    piece = data["text"].encode()
            elif "block" in data and data["block"].id == block.id and number < len(data["block"].parts):
                piece = data["block"].parts[number].content[num_sent:]
            num_sent += len(piece)
            if piece:
                yield piece
            if event.name == "block.completed" and data["block"].id == block.id:
                return


async def _first(pieces: AsyncGenerator[bytes]) -> bytes:
    """The first of them, once it has come; none where they end before."""
    return await anext(pieces, b"")


async def _thread_of_block(request: Request) -> ThreadHandle:
    owner, block_id = owner_of(request), _block_id(request)
    try:
        return await agents_of(request).thread(thread_of(block_id), owner)
    except (ThreadNotFound, ThreadDeleted):
        raise BlockNotFound(block_id) from None


def _block_id(request: Request) -> str:
    block_id: str = request.path_params["block_id"]
    return block_id
