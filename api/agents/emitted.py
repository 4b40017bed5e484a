"""What a function emits, as parts of a block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from api.agents.results import parts_of
from api.agents.writer import OpenBlock
from api.errors import InvalidRequest, reason_of
from api.inferlet.checks import checked_text
from api.threads.blocks import Part

MAX_UNBROKEN = 100
"""Pieces after which others go on, whether an iterator waits or not."""


async def show(block: OpenBlock, content: Any) -> None:
    """Let the block grow by this; by what it yields as that comes, where it is an async iterator.

    Raises:
        InvalidRequest: it is nothing that a block can have.
    """
    if not isinstance(content, AsyncIterable):
        return _show_piece(block, content)
    pieces = aiter(content)
    try:
        num_pieces = 0
        async for piece in pieces:
            _show_piece(block, piece)
            num_pieces += 1
            if num_pieces % MAX_UNBROKEN == 0:
                await asyncio.sleep(0)  # an iterator that never waits is cancelled here
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _show_piece(block: OpenBlock, piece: Any) -> None:
    """A text goes on with a text before it."""
    try:
        if isinstance(piece, str):
            return block.say(checked_text(piece))
        parts = [Part(**one) for one in parts_of(piece)]
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"an agent emits text, files and JSON: {reason_of(error)}") from None
    for part in parts:
        block.begin_part(part)
