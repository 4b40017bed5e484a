"""One long poll per reader, for all the turns that it follows on one model actor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.models.messages import PollReply
from actors.models.turn import ModelTurn


@dataclass(slots=True)
class _Reader:
    replied_at: float = 0.0
    waiting: asyncio.Event | None = field(default=None)


class Pollers:
    """Answers polls: at once with the turns that have their first token or their end to show, else with all in turn.

    A reader gets all its turns' frames every ``interval_s``, or less often when it follows many: for each frame there
    is work in several processes up to the client's, and one that is twice as big costs the same. A reader has one poll
    at a time: the next one, with more turns or fewer, ends the one that waits. So a turn that begins is in the
    reader's poll at once, and a slow reader gets bigger frames instead of a backlog.

    Attributes:
        interval_s: may be set.
    """

    IDLE_S = 60.0
    INTERVAL_PER_TURN_S = 0.004
    MAX_INTERVAL_S = 0.2

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self._readers: dict[str, _Reader] = {}

    async def poll(
        self, reader_id: str, cursors: Mapping[str, int], turns: Mapping[str, ModelTurn], wait_s: float
    ) -> PollReply:
        """See ``ModelRef.poll``."""
        reader = self._readers.setdefault(reader_id, _Reader())
        if reader.waiting:
            reader.waiting.set()
        event = reader.waiting = asyncio.Event()
        followed = {key: turns[key] for key in cursors if key in turns}
        unknown = tuple(key for key in cursors if key not in turns)
        for turn in followed.values():
            turn.read_at = time.monotonic()
            turn.log.watch(event)
        try:
            return await self._wait(reader, event, followed, cursors, unknown, time.monotonic() + wait_s)
        finally:
            for turn in followed.values():
                turn.read_at = time.monotonic()
                turn.log.unwatch(event)
            if reader.waiting is event:
                reader.waiting = None

    def forget_idle(self, now: float) -> None:
        """Forget readers that have not polled for a while."""
        for reader_id, reader in list(self._readers.items()):
            if reader.waiting is None and now - reader.replied_at > self.IDLE_S:
                del self._readers[reader_id]

    async def _wait(
        self,
        reader: _Reader,
        event: asyncio.Event,
        followed: Mapping[str, ModelTurn],
        cursors: Mapping[str, int],
        unknown: tuple[str, ...],
        deadline: float,
    ) -> PollReply:
        while True:
            event.clear()
            news = [key for key, turn in followed.items() if turn.has_news(cursors[key])]
            failed = {key: error for key, turn in followed.items() if (error := turn.error)}
            now = time.monotonic()
            due = reader.replied_at + self._interval(len(followed)) if news else deadline
            is_due = now >= min(due, deadline)
            if is_due:
                reader.replied_at = now
            else:
                news = [key for key in news if followed[key].has_urgent_news(cursors[key])]
            if is_due or news or unknown or failed:
                return PollReply({key: followed[key].frame(cursors[key]) for key in news}, unknown, failed)
            try:
                await asyncio.wait_for(event.wait(), min(due, deadline) - now)
            except TimeoutError:
                continue
            if reader.waiting is not event:
                return PollReply()

    def _interval(self, num_turns: int) -> float:
        return max(self.interval_s, min(num_turns * self.INTERVAL_PER_TURN_S, self.MAX_INTERVAL_S))
