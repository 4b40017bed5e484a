"""The journal on PostgreSQL: one that many processes can write, and that outlives its machine."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg
from typing_extensions import override

from actors.calls.ray import patiently
from actors.journal.contract import Acquired, IndexEntry, Journal, Listing, StreamInfo
from actors.journal.formats import check_format
from actors.journal.postgres.server import LOST, open_pool, place_of
from actors.journal.postgres.tables import APPEND, MIGRATIONS, shown
from api.errors import Fenced, GreenroomError, IdTaken, InvalidRequest, NotFound, RecordsMissing, Unavailable, reason_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[Any]

Answer = TypeVar("Answer")

_COLUMNS = "key, owner, model, epoch, created_at, last_used_at, expires_at, title, is_listed"


class PostgresJournal(Journal):
    """A journal in a schema of a PostgreSQL database, which is made where it is missing.

    Appends that arrive while a transaction is on its way share the next one, in one call of the server; a refused one
    undoes nothing of its neighbours'. What the server cannot do now, since it restarts or another takes its place, is
    tried again for ``patience_s``. Deleted text leaves the tables when the server vacuums them.
    """

    MAX_CONNECTIONS = 4
    MAX_APPENDS, MAX_BYTES = 256, 8 << 20
    """Of a transaction; one append may have more."""
    CLOSE_TIMEOUT_S = 10.0

    def __init__(self, url: str, schema: str = "greenroom", patience_s: float = 60.0) -> None:
        self._url = url
        self._schema = schema
        self._patience_s = patience_s
        self._pool: asyncpg.Pool[Any] | None = None
        self._waiting: deque[tuple[_Append, asyncio.Future[None]]] = deque()
        self._appending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and bring the tables to this release's format.

        Raises:
            Unavailable: the server cannot be reached, refuses, or a later release wrote the tables.
        """
        self._pool = await self._patiently(lambda: open_pool(self._url, self._schema, self.MAX_CONNECTIONS))
        await self._run(self._migrate)

    async def stop(self) -> None:
        """Finish what waits and disconnect."""
        while self._appending:
            await self._appending
        if self._pool:
            try:
                await asyncio.wait_for(self._pool.close(), self.CLOSE_TIMEOUT_S)
            except TimeoutError:
                self._pool.terminate()

    @override
    async def create(
        self, key: str, owner: str, model: str, records: Sequence[bytes], expires_at: float | None, title: str = ""
    ) -> Acquired:
        now = time.time()
        row = (key, owner, model, 1, now, now, expires_at, shown(title))

        async def write(connection: Connection) -> Acquired:
            query = (
                "INSERT INTO streams (key, owner, model, epoch, created_at, last_used_at, expires_at, title)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING key"
            )
            if await connection.fetchval(query, *row):
                rows = [(key, position, record) for position, record in enumerate(records)]
                await connection.executemany("INSERT INTO records VALUES ($1, $2, $3)", rows)
                return Acquired(StreamInfo(*row), tuple(records), range(len(records)))
            found = await _find(connection, key)
            if found is None or found.owner != owner or found.epoch != 1:
                raise IdTaken(f"the journal already holds {key!r}")
            return Acquired(found, tuple(records), range(len(records)))

        return await self._run(write)

    @override
    async def acquire(self, key: str) -> Acquired:

        async def write(connection: Connection) -> Acquired:
            query = f"UPDATE streams SET epoch = epoch + 1 WHERE key = $1 RETURNING {_COLUMNS}"
            row = await connection.fetchrow(query, key)
            if row is None:
                raise NotFound(f"the journal holds no {key!r}")
            found = await connection.fetch("SELECT record, position FROM records WHERE key = $1 ORDER BY position", key)
            return Acquired(StreamInfo(*row), tuple(one[0] for one in found), tuple(one[1] for one in found))

        return await self._run(write)

    @override
    async def records(self, key: str) -> tuple[bytes, ...]:

        query = (
            "SELECT r.record FROM streams AS s LEFT JOIN records AS r ON r.key = s.key"
            " WHERE s.key = $1 ORDER BY r.position"
        )
        rows = await self._fetch(query, key)
        if not rows:
            raise NotFound(f"the journal holds no {key!r}")
        return tuple(row[0] for row in rows if row[0] is not None)

    @override
    async def append(
        self,
        key: str,
        epoch: int,
        position: int,
        records: Sequence[bytes],
        expires_at: float | None,
        listing: Listing | None = None,
        entries: Sequence[IndexEntry] = (),
        drops: Sequence[range] = (),
    ) -> None:
        listed = (shown(listing.title), listing.model, listing.is_listed) if listing else (None, None, None)
        by_name = {one.name: one for one in entries}
        append = (key, epoch, position, tuple(records), expires_at, *listed, by_name, drops)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((append, future))
        if self._appending is None:
            self._appending = asyncio.create_task(self._append_all())
        await future

    @override
    async def delete(self, key: str, epoch: int | None = None) -> None:

        async def write(connection: Connection) -> None:
            found = await connection.fetchval("SELECT epoch FROM streams WHERE key = $1 FOR UPDATE", key)
            if found is None:
                return
            if epoch is not None and found != epoch:
                raise Fenced(key, epoch)
            await connection.execute("DELETE FROM records WHERE key = $1", key)
            await connection.execute("DELETE FROM entries WHERE key = $1", key)
            await connection.execute("DELETE FROM streams WHERE key = $1", key)

        await self._run(write)

    @override
    async def give(self, key: str, owner: str) -> None:

        async def write(connection: Connection) -> None:
            query = "UPDATE streams SET owner = $2, epoch = epoch + 1 WHERE key = $1 RETURNING key"
            if await connection.fetchval(query, key, owner) is None:
                raise NotFound(f"the journal holds no {key!r}")
            await connection.execute("UPDATE entries SET owner = $2 WHERE key = $1", key, owner)

        await self._run(write)

    @override
    async def streams(self, owner: str | None = None) -> tuple[StreamInfo, ...]:
        query = f"SELECT {_COLUMNS} FROM streams WHERE $1::text IS NULL OR owner = $1 ORDER BY last_used_at DESC"
        return tuple(StreamInfo(*row) for row in await self._fetch(query, owner))

    @override
    async def info(self, key: str) -> StreamInfo | None:
        return await self._run(lambda connection: _find(connection, key))

    @override
    async def expired(self, now: float) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._fetch("SELECT key FROM streams WHERE expires_at <= $1", now))

    @override
    async def entries(
        self, owner: str, state: str | None, before: tuple[float, str] | None, limit: int
    ) -> tuple[IndexEntry, ...]:
        values: list[Any] = [owner, limit]
        where = "owner = $1"
        for condition, given in (
            ("state = ${}", None if state is None else (state,)),
            ("(at, name) < (${}, ${})", before),
        ):
            if given is not None:
                where += " AND " + condition.format(*range(len(values) + 1, len(values) + 1 + len(given)))
                values += given
        query = f"SELECT name, at, state, value FROM entries WHERE {where} ORDER BY at DESC, name DESC LIMIT $2"
        rows = await self._fetch(query, *values)
        return tuple(IndexEntry(*row) for row in rows)

    @override
    async def put_item(self, space: str, name: str, value: bytes) -> None:
        query = "INSERT INTO items VALUES ($1, $2, $3) ON CONFLICT (space, name) DO UPDATE SET value = excluded.value"
        await self._fetch(query, space, name, value)

    @override
    async def get_item(self, space: str, name: str) -> bytes | None:
        rows = await self._fetch("SELECT value FROM items WHERE space = $1 AND name = $2", space, name)
        return rows[0][0] if rows else None

    @override
    async def delete_item(self, space: str, name: str) -> bool:
        return bool(await self._fetch("DELETE FROM items WHERE space = $1 AND name = $2 RETURNING 1", space, name))

    @override
    async def list_items(self, space: str, prefix: str = "") -> tuple[str, ...]:
        query = "SELECT name FROM items WHERE space = $1 AND starts_with(name, $2) ORDER BY name"
        return tuple(row[0] for row in await self._fetch(query, space, prefix))

    async def _fetch(self, query: str, *values: Any) -> list[Any]:
        return await self._run(lambda connection: connection.fetch(query, *values))

    async def _append_all(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                batch.sort(key=lambda entry: entry[0][0])  # all writers lock rows in the same order
                answers = await self._answers([append for append, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.cancelled():
                        continue
                    if answer is None:
                        future.set_result(None)
                    else:
                        future.set_exception(answer)
        finally:
            self._appending = None

    def _next_batch(self) -> list[tuple[_Append, asyncio.Future[None]]]:
        """Those that came first."""
        batch, size = list[tuple[_Append, asyncio.Future[None]]](), 0
        while self._waiting and len(batch) < self.MAX_APPENDS and size < self.MAX_BYTES:
            batch.append(self._waiting.popleft())
            size += sum(map(len, batch[-1][0][3]))
        return batch

    async def _answers(self, batch: list[_Append]) -> list[GreenroomError | None]:
        """None for each that was made."""
        try:
            return await self._run(lambda connection: _append(connection, batch, time.time()))
        except InvalidRequest as error:
            if len(batch) == 1:
                return [error]
            return [answer for append in batch for answer in await self._answers([append])]
        except GreenroomError as error:
            return [error] * len(batch)

    async def _run(self, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """In a transaction; it might be made twice, where its end was not told."""

        async def attempt() -> Answer:
            assert self._pool is not None, "start() comes first"
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    return await work(connection)
            except (asyncpg.DataError, ValueError, TypeError, OverflowError) as error:
                raise InvalidRequest(f"the journal cannot keep this: {reason_of(error)}") from error

        return await self._patiently(attempt)

    async def _patiently(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await patiently(attempt, LOST, self._patience_s)
        except LOST as error:
            raise Unavailable(f"the journal {place_of(self._url)} cannot be reached: {reason_of(error)}") from error
        except asyncpg.PostgresError as error:
            raise Unavailable(f"the journal {place_of(self._url)} refuses: {reason_of(error)}") from error

    async def _migrate(self, connection: Connection) -> None:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"migrate {self._schema}")
        if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", self._schema):
            await connection.execute(f"CREATE SCHEMA {self._schema}")
        if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{self._schema}.formats"):
            await connection.execute("CREATE TABLE formats (format integer NOT NULL)")
        found = await connection.fetchval("SELECT max(format) FROM formats") or 0
        check_format(f"the journal {place_of(self._url)}", found, len(MIGRATIONS))
        for number in range(found, len(MIGRATIONS)):
            await connection.execute(MIGRATIONS[number])
            await connection.execute("INSERT INTO formats VALUES ($1)", number + 1)


_Append: TypeAlias = tuple[
    str,
    int,
    int,
    tuple[bytes, ...],
    float | None,
    str | None,
    str | None,
    bool | None,
    dict[str, IndexEntry],
    Sequence[range],
]


async def _append(connection: Connection, batch: list[_Append], now: float) -> list[GreenroomError | None]:
    keys, epochs, positions, records, *shown, entries, drops = map(list, zip(*batch, strict=True))
    counts, flat = [len(one) for one in records], [record for one in records for record in one]
    rows = [
        (number, one.name, one.at, one.state, one.value)
        for number, by_name in enumerate(entries, 1)
        for one in by_name.values()
    ]
    columns = list(map(list, zip(*rows, strict=True))) or [[]] * 5
    ends = await connection.fetchval(APPEND, keys, epochs, positions, counts, flat, *shown, now, *columns)
    answers = [_refusal(append, end) for append, end in zip(batch, ends, strict=True)]
    dropped = [
        (key, one.start, one.stop)
        for key, position, end, ranges in zip(keys, positions, ends, drops, strict=True)
        if position == end
        for one in ranges
    ]
    if dropped:
        query = "DELETE FROM records WHERE key = $1 AND position >= $2 AND position < $3"
        await connection.executemany(query, dropped)
    return answers


def _refusal(append: _Append, end: int | None) -> GreenroomError | None:
    """Where the stream ended before an append tells what became of it; None: it is not its owner's."""
    key, epoch, position, *_ = append
    if end is None:
        return Fenced(key, epoch)
    if position > end:
        return RecordsMissing(f"a write to {key!r} at {position} would leave a gap after {end}")
    return None


async def _find(connection: Connection, key: str) -> StreamInfo | None:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM streams WHERE key = $1", key)
    return StreamInfo(*row) if row else None
