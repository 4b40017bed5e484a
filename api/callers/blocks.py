"""Blocks on the caller's side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from api.errors import GreenroomError
from api.wire.thread_views import BlockView


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
