"""A thread's blocks on the caller's side, as its events tell them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from api.callers.blocks import ClientBlock, Growth
from api.errors import Closed
from api.wire.thread_views import BlockView


class Following:
    """Reads events, each a name and its data as on the wire, while it is not closed.

    Attributes:
        blocks: that have begun, in their order.
    """

    def __init__(self, events: AsyncIterator[tuple[str, dict[str, Any]]]) -> None:
        self.blocks: list[ClientBlock] = []
        self._events = events
        self._by_id: dict[str, ClientBlock] = {}
        self._growth = Growth()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._growth.grown())

    async def each(self) -> AsyncIterator[ClientBlock]:
        """Blocks as they begin, until the stream ends.

        Raises:
            GreenroomError: it cannot be read any further.
        """
        index = 0
        while True:
            while index < len(self.blocks):
                yield self.blocks[index]
                index += 1
            if self._reading.done():
                self._reading.result()
                return
            await self._growth.wait()

    async def close(self) -> None:
        """Read no further."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        for block in self.blocks:
            block._leave(Closed("the stream that this block came with is closed"))

    async def _read(self) -> None:
        async for name, data in self._events:
            self._take(name, data)

    def _take(self, name: str, data: dict[str, Any]) -> None:
        match name:
            case "block.created":
                block = ClientBlock(BlockView.model_validate(data["block"]), self._growth)
                self._by_id[block.id] = block
                self.blocks.append(block)
                self._growth.grown()
            case "block.delta":
                self._by_id[data["block_id"]]._grow(data["text"])
            case "block.completed" if data["block"]["id"] in self._by_id:
                self._by_id[data["block"]["id"]]._update(BlockView.model_validate(data["block"]))
