"""Turns that might have ended a model actor are let in one after another, so that only the guilty one ends the next."""

from __future__ import annotations

import asyncio

from actors.models.turn import ModelTurn


class Probation:
    """Holds the suspect that was let in last, until it has ended or its owner acquits it.

    A turn that ends model actors does so near where it is started again, since it goes on from what was delivered. Were
    its neighbours started beside it once more, they would be in two deaths as well.
    """

    def __init__(self) -> None:
        self._place = asyncio.Lock()
        self._key: str | None = None
        self._num_suspects = 0
        self._is_over = asyncio.Event()

    async def enter(self, key: str) -> None:
        """Wait until no other suspect is held."""
        self._num_suspects += 1
        try:
            await self._place.acquire()
        except asyncio.CancelledError:
            self._one_less()
            raise
        self._key = key

    def leave(self, key: str) -> None:
        """The next one can come, if this one is held."""
        if key == self._key:
            self._key = None
            self._place.release()
            self._one_less()

    async def acquit(self, key: str) -> None:
        """Let the next one in; return once no suspect is held or waits."""
        self.leave(key)
        while self._num_suspects:
            self._is_over.clear()
            await self._is_over.wait()

    def watch(self, turn: ModelTurn) -> None:
        """Let a turn go that has ended."""
        if turn.is_ended:
            self.leave(turn.key)

    def _one_less(self) -> None:
        self._num_suspects -= 1
        if not self._num_suspects:
            self._is_over.set()
