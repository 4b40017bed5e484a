"""Turns that might have ended a model actor are let in one after another, so that only the guilty one ends the next."""

from __future__ import annotations

import asyncio

from actors.models.turn import ModelTurn


class Probation:
    """Holds the suspect that was let in last, until it has ended or has made some tokens.

    A turn that ends model actors does so near where it is started again, since it goes on from what was delivered. Were
    its neighbours started beside it once more, they would be in two deaths as well.
    """

    NUM_TOKENS = 32

    def __init__(self) -> None:
        self._place = asyncio.Lock()
        self._key: str | None = None

    async def enter(self, key: str) -> None:
        """Wait until no other suspect is held."""
        await self._place.acquire()
        self._key = key

    def leave(self, key: str) -> None:
        """The next one can come, if this one is held."""
        if key == self._key:
            self._key = None
            self._place.release()

    def watch(self, turn: ModelTurn) -> None:
        """Let a turn go once it has shown that it is harmless, or has ended."""
        if turn.key == self._key and (turn.is_ended or turn.num_made >= self.NUM_TOKENS):
            self.leave(turn.key)
