"""A session's stream in the journal, and what it says."""

from __future__ import annotations

import asyncio

from actors.directory.messages import SessionSeed
from actors.journal.contract import Acquired, Journal
from actors.journal.writer import OwnedStream, expiry
from actors.sessions.history import History
from actors.sessions.records import FORMAT, Opened, Record, Titled, TurnStarted, decode, encode
from actors.sessions.title import title_of
from api.errors import Fenced


class SessionRecords:
    """The records of one session. The journal's epoch makes its holder the only one who writes them.

    Made, then ``create``d or ``acquire``d.

    Attributes:
        history: what the records say.
        owner: whose session it is.
        created_at: seconds since the epoch.
        is_fenced: another actor has the session, or it has ended; nothing is written here any longer.
    """

    def __init__(self, journal: Journal, session_id: str) -> None:
        self.owner = ""
        self.created_at = 0.0
        self.is_fenced = False
        self.history: History
        self._journal = journal
        self._session_id = session_id
        self._stream: OwnedStream
        self._writing = asyncio.Lock()

    @property
    def opened(self) -> Opened:
        """How the session was opened."""
        assert self.history.opened is not None, "the first record opens the session"
        return self.history.opened

    async def create(self, seed: SessionSeed) -> None:
        """Begin the stream. Durable on return.

        Raises:
            IdTaken: the id is taken.
        """
        opened = Opened(
            seed.session_id,
            seed.model,
            seed.retention,
            seed.max_context,
            seed.idle_timeout_s,
            seed.adapter,
            FORMAT,
            seed.title,
        )
        records = (encode(opened), *seed.records)
        expires_at = expiry(seed.idle_timeout_s)
        title = seed.title or ""
        self._open(await self._journal.create(self._session_id, seed.owner, seed.model, records, expires_at, title))

    async def acquire(self) -> None:
        """Take the stream over from whoever had it.

        Raises:
            NotFound: there is none.
        """
        self._open(await self._journal.acquire(self._session_id))

    async def write(self, record: Record) -> None:
        """Add a record. Durable on return, and part of the history. Records enter in the order of the calls.

        Raises:
            Fenced: somebody else has the session.
        """
        async with self._writing:
            try:
                await self._append(record)
            except Fenced:
                self.is_fenced = True
                raise
            self.history.apply(record)

    async def _append(self, record: Record) -> None:
        title = _title_after(self.history.title, record)
        await self._stream.append([encode(record)], self.opened.idle_timeout_s, title)

    def leave(self) -> None:
        """Write nothing here any longer."""
        self.is_fenced = True

    async def delete(self) -> None:
        """End the session for good. Idempotent."""
        await self._journal.delete(self._session_id)

    def _open(self, acquired: Acquired) -> None:
        self.history = History.replay(decode(record) for record in acquired.records)
        self.owner, self.created_at = acquired.info.owner, acquired.info.created_at
        self._stream = OwnedStream(self._journal, acquired)


def _title_after(title: str, record: Record) -> str:
    match record:
        case Titled(given):
            return given
        case TurnStarted(request):
            return title or title_of(request.prompt)
    return title
