"""Reads the frames of many turns with one long poll per model actor."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from actors.calls.scope import Scope
from actors.models.messages import PollReply
from actors.models.ref import ModelRef
from api.errors import ModelLost
from api.turns import Frame

GATHER_S = 0.005
"""Polls of one model actor begin so far apart, or further: turns that begin together are asked for together."""


STUCK_S = 5.0
"""A follower that has not taken its frames for so long counts as gone, until it takes them."""


@dataclass(slots=True)
class _Followed:
    """One turn being read: the offset asked for next, what has come, and since when it could have been taken."""

    offset: int
    frames: asyncio.Queue[Frame | Exception] = field(default_factory=asyncio.Queue)
    waits_since: float = 0.0

    @property
    def is_stuck(self) -> bool:
        """Whether its frames are not taken."""
        return not self.frames.empty() and time.monotonic() - self.waits_since > STUCK_S

    def give(self, frame: Frame | Exception) -> None:
        """Add one."""
        if self.frames.empty():
            self.waits_since = time.monotonic()
        self.frames.put_nowait(frame)


class TurnReader:
    """One per process and event loop. ``follow`` as many turns as you like.

    The queue of a follower is bounded by its turn: a frame is asked for again only from where the last one ended. For a
    follower that takes none, as when a proxy keeps the connection of a client that has left, nothing is asked for: its
    turn counts as unread.
    """

    WAIT_S = 10.0

    def __init__(self) -> None:
        self._reader_id = secrets.token_hex(8)
        self._actors: dict[ModelRef, _ActorReader] = {}

    async def follow(self, model: ModelRef, key: str, offset: int) -> AsyncGenerator[Frame]:
        """Frames of a turn, by its key, from an offset on, to its last.

        Raises:
            ModelLost: the model actor is gone or does not know the turn.
            GreenroomError: the turn failed with this.
        """
        reader = self._actors.get(model)
        if reader is None:
            reader = self._actors[model] = _ActorReader(self._reader_id, model)
        followed = reader.add(key, offset)
        try:
            while True:
                frame = await followed.frames.get()
                reader.taken(followed)
                if isinstance(frame, Exception):
                    raise frame
                yield frame
                if frame.finish:
                    return
        finally:
            if reader.remove(key, followed) and self._actors.get(model) is reader:
                del self._actors[model]


class _ActorReader:
    """The poll of one model actor: runs while something is followed."""

    def __init__(self, reader_id: str, model: ModelRef) -> None:
        self._reader_id = f"{reader_id}-{secrets.token_hex(4)}"
        self._model = model
        self._turns: dict[str, list[_Followed]] = {}
        self._scope = Scope()
        self._num_polls = 0
        self._polled_at = -math.inf
        self._next: asyncio.TimerHandle | None = None
        self._leaves_some_out = False

    def add(self, key: str, offset: int) -> _Followed:
        """Follow a turn; the poll that waits is replaced by one that includes it."""
        followed = _Followed(offset)
        self._turns.setdefault(key, []).append(followed)
        self._poll_soon()
        return followed

    def remove(self, key: str, followed: _Followed) -> bool:
        """Stop following; True where nothing is followed any longer."""
        readers = self._turns[key]
        readers.remove(followed)
        if not readers:
            del self._turns[key]
        return not self._turns

    def taken(self, followed: _Followed) -> None:
        """A follower has taken a frame; the next are asked for where they were not."""
        if self._leaves_some_out and followed.frames.empty():
            self._poll_soon()

    def _poll_soon(self) -> None:
        if self._next:
            return
        loop = asyncio.get_running_loop()
        due = self._polled_at + GATHER_S
        if loop.time() >= due:
            self._poll()
        else:
            self._next = loop.call_at(due, self._poll)

    def _poll(self) -> None:
        self._next = None
        self._polled_at = asyncio.get_running_loop().time()
        read = {key: readers for key, readers in self._turns.items() if not all(reader.is_stuck for reader in readers)}
        self._leaves_some_out = len(read) < len(self._turns)
        if not read:
            return
        cursors = {key: min(reader.offset for reader in readers) for key, readers in read.items()}
        self._num_polls += 1
        self._scope.start(self._poll_once(self._num_polls, cursors))

    async def _poll_once(self, number: int, cursors: dict[str, int]) -> None:
        """One poll; the latest of those under way is the one that goes on."""
        try:
            reply = await self._model.poll(self._reader_id, cursors, TurnReader.WAIT_S)
        except Exception as error:
            for key in cursors:
                self._tell(key, error)
            return
        self._deliver(reply)
        if self._turns and number == self._num_polls:
            self._poll_soon()

    def _deliver(self, reply: PollReply) -> None:
        for key in reply.unknown:
            self._tell(key, ModelLost(f"the model actor does not know turn {key!r}"))
        for key, error in reply.failed.items():
            self._tell(key, error)
        for key, frame in reply.frames.items():
            for followed in self._turns.get(key, ()):
                _hand(followed, frame)

    def _tell(self, key: str, error: Exception) -> None:
        for followed in self._turns.get(key, ()):
            followed.give(error)


def _hand(followed: _Followed, frame: Frame) -> None:
    """Give a follower what it does not have yet; two polls may overlap."""
    skip = followed.offset - frame.offset
    if skip < 0 or skip > len(frame.ids) or (skip == len(frame.ids) and frame.finish is None):
        return
    followed.offset += len(frame.ids) - skip
    followed.give(frame.after(skip))
