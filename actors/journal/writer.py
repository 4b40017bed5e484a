"""Writes the records of one stream to the journal: in order, many to a write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.calls.scope import Scope
from actors.journal.contract import Acquired, IndexEntry, Journal, Listing
from api.errors import Fenced, GreenroomError, Unavailable
from api.logs import event_logger

log = event_logger("greenroom.journal")

Record = TypeVar("Record")


class OwnedStream:
    """A stream of which this process owns the epoch; one write at a time.

    Attributes:
        end: the position that the next record gets.
    """

    def __init__(self, journal: Journal, acquired: Acquired) -> None:
        self.info = acquired.info
        self.end = acquired.end
        self._journal = journal

    async def append(
        self,
        records: Sequence[bytes],
        expires_at: float | None = None,
        listing: Listing | None = None,
        entries: Sequence[IndexEntry] = (),
        drops: Sequence[range] = (),
    ) -> None:
        """Add records at the end; see ``Journal.append``."""
        key, epoch = self.info.key, self.info.epoch
        await self._journal.append(key, epoch, self.end, records, expires_at, listing, entries, drops)
        self.end += len(records)

    async def delete(self) -> None:
        """Remove the stream; see ``Journal.delete``."""
        await self._journal.delete(self.info.key, self.info.epoch)


def expiry(after_s: float | None) -> float | None:
    """When the clock will show that this many seconds have passed; None is never."""
    return None if after_s is None else time.time() + after_s


@dataclass(frozen=True, slots=True)
class Lines:
    """What a stream gets for some records. ``drops`` has the positions of earlier ones that are removed with them.

    ``num_merged_bytes``: of those that are removed since these lines have what they had.
    """

    lines: Sequence[bytes]
    drops: Sequence[range] = ()
    num_merged_bytes: int = 0


class Recorder(Generic[Record]):
    """Writes the records of one stream in order, many to a write. Belongs to one event loop.

    ``on_durable`` is given the records once they are written, and nobody outside sees what they say before.
    ``lines_of`` is given the records of a write, and the position of the first, once, and says what is kept of them.
    ``index`` is given the records before, and says what they change in the index; ``expires_at`` says with each try to
    write them when the stream expires.

    ``num_bytes`` counts what was written, by earlier lives too as far as it is still there.
    """

    RETRY_S = 0.2
    HOLD_S = 1.0
    MAX_HELD = 1000

    def __init__(
        self,
        journal: Journal,
        acquired: Acquired,
        index: Callable[[Sequence[Record]], Sequence[IndexEntry]],
        expires_at: Callable[[], float | None],
        lines_of: Callable[[int, Sequence[Record]], Lines],
        on_durable: Callable[[Sequence[Record]], object],
        scope: Scope,
    ) -> None:
        self._scope = scope
        self.is_fenced = False
        self._stream = OwnedStream(journal, acquired)
        self.num_bytes = sum(map(len, acquired.records))
        self._index = index
        self._expires_at = expires_at
        self._lines_of = lines_of
        self._on_durable = on_durable
        self._waiting: list[Record] = []
        self._writing: asyncio.Task[None] | None = None
        self._holding: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._num_added = 0
        self._num_wanted = 0
        self._num_written = 0
        self._obstacle = ""

    @property
    def is_busy(self) -> bool:
        """Something is being written."""
        return self._writing is not None

    def add(self, record: Record) -> None:
        """Write this next. After another owner has taken over, nothing happens."""
        if self.is_fenced:
            return
        self._take(record)
        self._write_all()

    def hold(self, record: Record) -> None:
        """Write this with the next one that is added, with others like it when they are many, or ``HOLD_S`` later."""
        if self.is_fenced:
            return
        self._take(record)
        if len(self._waiting) >= self.MAX_HELD:
            self._write_all()
        elif self._holding is None:
            self._holding = asyncio.get_running_loop().call_later(self.HOLD_S, self._write_all)

    async def flushed(self, timeout_s: float | None = None) -> None:
        """All that was added before is durable.

        Raises:
            Fenced: it never will be: another owner has taken over.
            Unavailable: it is not within ``timeout_s``, and will be once the journal takes it.
        """
        end = self._num_added
        self._write_all()
        try:
            async with asyncio.timeout(timeout_s):
                await self._written(end)
        except TimeoutError:
            reason = self._obstacle or "the journal does not answer"
            raise Unavailable(f"this is not recorded yet, and will be as soon as it can: {reason}") from None

    async def _written(self, end: int) -> None:
        while self._num_written < end:
            if self.is_fenced:
                raise Fenced(self._stream.info.key, self._stream.info.epoch)
            self._changed.clear()
            await self._changed.wait()

    def _take(self, record: Record) -> None:
        self._waiting.append(record)
        self._num_added += 1

    def _write_all(self) -> None:
        self._num_wanted = self._num_added
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        if self._writing is None and self._waiting:
            self._writing = self._scope.start(self._write())

    async def _write(self) -> None:
        try:
            while self._num_written < self._num_wanted and not self.is_fenced:
                batch, self._waiting = self._waiting, []
                await self._append(batch)
        finally:
            self._writing = None
            self._changed.set()

    async def _append(self, batch: Sequence[Record]) -> None:
        kept = self._lines_of(self._stream.end, batch)
        entries = self._index(batch)
        while kept.lines:
            try:
                await self._stream.append(kept.lines, self._expires_at(), entries=entries, drops=kept.drops)
                break
            except Fenced:
                self.is_fenced = True
                return
            except GreenroomError as error:
                self._obstacle = str(error)
                log.warning("the journal does not take records", key=self._stream.info.key, error=str(error))
                await asyncio.sleep(self.RETRY_S)
        self._obstacle = ""
        self._num_written += len(batch)
        self.num_bytes += sum(map(len, kept.lines)) - kept.num_merged_bytes
        self._on_durable(batch)
        self._changed.set()
