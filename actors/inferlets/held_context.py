"""One context of a program as its actor holds it: where its KV is, and what is still going on with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any

from actors.contexts.context import BetweenTurns
from actors.contexts.run import TurnRun
from api.turns import Frame


@dataclass(slots=True)
class HeldContext:
    """Belongs to one event loop.

    Attributes:
        origin: its fork, until that has happened.
        streams: of turns that are read, by their ids; ``runs`` are the turns.
    """

    between: BetweenTurns
    origin: asyncio.Task[None] | None = None
    streams: dict[str, AsyncGenerator[Frame]] = field(default_factory=dict)
    runs: dict[str, TurnRun] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    def end_soon(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """End a turn by this; the context's next turn waits for it, whether or not the program does."""
        ending = asyncio.create_task(work)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def ended(self) -> None:
        """No cancelled turn of the context runs in the engine any longer."""
        if self._ending:
            await asyncio.wait(set(self._ending))

    async def leave(self, key: str) -> None:
        """Read a turn no further, and return when it has ended in the engine."""
        stream, run = self.streams.pop(key, None), self.runs.pop(key, None)
        if stream:
            await stream.aclose()
            if run and run.is_cancelled:
                await run.wait_ended()
