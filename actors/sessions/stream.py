"""A session's stream in the journal, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from actors.directory.messages import SessionSeed
from actors.journal.contract import Acquired, Journal, Listing
from actors.journal.writer import OwnedStream, expiry
from actors.sessions.history import History
from actors.sessions.records import (
    FORMAT,
    Edited,
    Opened,
    Packed,
    Record,
    Titled,
    TurnFailed,
    TurnHidden,
    TurnQueued,
    TurnStarted,
    decode_all,
    encode,
    is_packed,
)
from actors.sessions.shortened import shortened, whole
from actors.sessions.title import title_of
from api.errors import Fenced, Moved


class SessionRecords:
    """The records of one session. The journal's epoch makes its holder the only one who writes them.

    Now and then those at the end become one, as another is written that no client waits for: a long session is read in
    few, small records.

    Attributes:
        history: what the records say.
        owner: whose session it is.
        created_at: seconds since the epoch.
        is_fenced: another actor has the session, or it has ended; nothing is written here any longer.
    """

    PACKED, PACKED_BYTES = 256, 1 << 20
    """Records that become one, or the bytes that they have together."""
    MAX_UNPACKED = 4 * PACKED
    """Of an earlier release's: those before its last ones stay as they are."""

    def __init__(self, journal: Journal, acquired: Acquired) -> None:
        self.history = History()
        for line in acquired.records:
            for record in decode_all(line):
                self.history.apply(whole(self.history, record))
        self.owner = acquired.info.owner
        self.created_at = acquired.info.created_at
        self.is_fenced = False
        self._journal = journal
        self._stream = OwnedStream(journal, acquired)
        self._writing = asyncio.Lock()
        self._unpacked = _unpacked(acquired, self.MAX_UNPACKED)

    @classmethod
    async def open(cls, journal: Journal, session_id: str, seed: SessionSeed | None) -> SessionRecords:
        """Begin the stream of a new session, durable on return; or, without a seed, take it over from its owner.

        Raises:
            IdTaken: there is a session of this id.
            NotFound: there is none, and no seed.
        """
        if seed is None:
            return cls(journal, await journal.acquire(session_id))
        opened = Opened(
            session_id,
            seed.model,
            seed.retention,
            seed.max_context,
            seed.idle_timeout_s,
            seed.adapter,
            FORMAT,
            seed.title,
        )
        records, expires_at = (encode(opened), *seed.records), expiry(seed.idle_timeout_s)
        acquired = await journal.create(session_id, seed.owner, seed.model, records, expires_at, seed.title or "")
        return cls(journal, acquired)

    @property
    def opened(self) -> Opened:
        """How the session was opened."""
        assert self.history.context.opened is not None, "the first record opens the session"
        return self.history.context.opened

    async def write(self, record: Record) -> None:
        """Add a record. Durable on return, and part of the history. Records enter in the order of the calls.

        Raises:
            Moved: somebody else has the session, or will.
        """
        async with self._writing:
            self.check_here()
            try:
                await self._append(record)
            except Fenced:
                self.leave()
                self.check_here()
            self.history.apply(record)

    async def _append(self, record: Record) -> None:
        listing = _listing_after(self.history, record)
        lines = [*self._unpacked, encode(shortened(self.history, record))]
        line, drops = lines[-1], list[range]()
        if not isinstance(record, TurnQueued | TurnStarted) and self._is_much(lines):
            line, drops = encode(Packed.of(lines)), [range(self._stream.end - len(self._unpacked), self._stream.end)]
        await self._stream.append([line], expiry(self.opened.idle_timeout_s), listing, drops=drops)
        self._unpacked = [] if drops else lines

    def _is_much(self, lines: Sequence[bytes]) -> bool:
        return len(lines) > 1 and (len(lines) >= self.PACKED or sum(map(len, lines)) >= self.PACKED_BYTES)

    def check_here(self) -> None:
        """Whether the session is still here; raises ``Moved`` where it is not."""
        if self.is_fenced:
            raise Moved(f"session {self.opened.session_id!r} is not here any longer")

    def leave(self) -> None:
        """Write nothing here any longer."""
        self.is_fenced = True

    async def delete(self) -> None:
        """End the session for good. Idempotent."""
        await self._journal.delete(self._stream.info.key)


def _unpacked(acquired: Acquired, limit: int) -> list[bytes]:
    """The last records, but for the first of the stream, which says what all are; none before one that is packed."""
    found: list[bytes] = []
    for position, line in zip(reversed(acquired.positions[-limit:]), reversed(acquired.records[-limit:]), strict=True):
        if position == 0 or position != acquired.end - 1 - len(found) or is_packed(line):
            break
        found.append(line)
    return found[::-1]


def _listing_after(history: History, record: Record) -> Listing:
    assert history.context.opened is not None, "the first record opens the session"
    model, is_listed = history.context.opened.model, not history.is_delisted
    match record:
        case Titled(given):
            return Listing(given, model, is_listed)
        case TurnStarted(request, _, edit):
            title = history.title_after(edit) if edit else history.title
            return Listing(title or title_of(request.prompt), edit and edit.model or model, is_listed)
        case TurnFailed():
            return Listing(history.title_without_open, model, is_listed)
        case TurnHidden(turn_id):
            return Listing(history.title_without(turn_id), model, is_listed)
        case Edited(edit):
            return Listing(history.title_after(edit), edit.model or model, is_listed and not edit.is_delisted)
    return Listing(history.title, model, is_listed)
