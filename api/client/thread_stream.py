"""A thread's blocks on the client's side, over as many connections as it takes, without loss or repeat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from api.client.event_lines import events_in
from api.client.remote_errors import error_of
from api.client.server import Server
from api.errors import Closed, GreenroomError, Unavailable
from api.wire.thread_views import BlockView, RunView


class Growth:
    """Wakes all that wait for something to have grown."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Until it has grown once more."""
        await self._event.wait()

    def grown(self) -> None:
        """It has."""
        self._event.set()
        self._event = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Tag:
    """What a block is, in Steamship's words."""

    kind: str
    name: str
    value: Any = None


class ClientBlock:
    """A block, which might still grow. ``view`` has its fields as they came last."""

    def __init__(self, view: BlockView, growth: Growth) -> None:
        self.view = view
        self._growth = growth
        self._pieces = [text for part in view.parts if (text := part.text)]
        self._left: GreenroomError | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.view.id

    @property
    def text(self) -> str:
        """The text of its parts so far; of JSON, JSON text while it grows."""
        return "".join(self._pieces)

    @property
    def is_complete(self) -> bool:
        """It does not grow any longer."""
        return self.view.state != "open"

    @property
    def mime_type(self) -> str:
        """Of its first part."""
        return self.view.parts[0].mime_type if self.view.parts else "text/plain"

    @property
    def chat_role(self) -> str | None:
        """Who said it; None where it is no message."""
        return self.view.role if self.view.kind == "message" else None

    @property
    def tags(self) -> tuple[Tag, ...]:
        """What it is."""
        view = self.view
        match view.kind:
            case "message":
                return (Tag("chat", "role", view.role),)
            case "status":
                return (Tag("status-message", view.name or "status"),)
            case "tool_call":
                return (Tag("function-selection", view.name or ""),)
        return (Tag(view.kind, view.name or view.kind),)

    async def stream(self) -> AsyncIterator[str]:
        """The pieces of its text, from the first on, until it is complete."""
        index = 0
        while True:
            while index < len(self._pieces):
                yield self._pieces[index]
                index += 1
            if self.is_complete:
                return
            if self._left:
                raise self._left
            await self._growth.wait()

    def _grow(self, text: str) -> None:
        self._pieces.append(text)
        self._growth.grown()

    def _update(self, view: BlockView) -> None:
        self.view = view
        self._growth.grown()

    def _leave(self, error: GreenroomError) -> None:
        self._left = error
        self._growth.grown()


class Following:
    """Reads a thread from a position on while it is not closed.

    Attributes:
        blocks: that have begun, in their order.
        runs: by id, as they were told of last.
    """

    def __init__(self, server: Server, thread_id: str, query: dict[str, str]) -> None:
        self.blocks: list[ClientBlock] = []
        self.runs: dict[str, RunView] = {}
        self._server = server
        self._path = f"/api/threads/{thread_id}/stream"
        self._query = query
        self._by_id: dict[str, ClientBlock] = {}
        self._patience = server.new_patience()
        self.growth = Growth()
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self.growth.grown())

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
            await self.growth.wait()

    async def close(self) -> None:
        """Read no further."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        for block in self.blocks:
            block._leave(Closed("the stream that this block came with is closed"))

    async def _read(self) -> None:
        while True:
            try:
                async with self._server.stream(self._path, self._query) as response:
                    async for name, data, event_id in events_in(response.aiter_lines()):
                        self._patience.renew()
                        if name == "error":
                            raise error_of(data["code"], data["message"])
                        self._take(name, data)
                        self._query["after"] = event_id
                if self._is_over():
                    return
                raise Unavailable("the server ended the stream")
            except (httpx.TransportError, httpx.StreamError, GreenroomError) as error:
                if self._is_over():
                    return
                await self._patience.outlast(error)

    def _is_over(self) -> bool:
        run = self.runs.get(self._query.get("run_id", ""))
        return run is not None and run.ended_at is not None

    def _take(self, name: str, data: dict[str, Any]) -> None:
        match name:
            case "block.created":
                block = ClientBlock(BlockView.model_validate(data["block"]), self.growth)
                self._by_id[block.id] = block
                self.blocks.append(block)
                self.growth.grown()
            case "block.delta":
                self._by_id[data["block_id"]]._grow(data["text"])
            case "block.completed" if data["block"]["id"] in self._by_id:
                self._by_id[data["block"]["id"]]._update(BlockView.model_validate(data["block"]))
            case "run.updated" | "run.ended":
                run = RunView.model_validate(data["run"])
                self.runs[run.id] = run
                self.growth.grown()


TaskState = Literal["waiting", "running", "succeeded", "failed"]
"""In Steamship's words: one that is queued waits, one that asks runs, one that was cancelled has failed."""

TASK_STATES: dict[str, TaskState] = {
    "queued": "waiting",
    "running": "running",
    "waiting": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "failed",
}
