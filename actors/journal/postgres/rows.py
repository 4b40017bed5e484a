"""The rows of a journal's schemas."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from typing_extensions import override

from actors.journal.formats import check_read
from actors.journal.postgres.server import LOST, place_of
from actors.journal.postgres.tables import MIGRATIONS, shown
from actors.journal.rows import TABLES, Row, Rows, batched
from api.errors import Unavailable, reason_of

_PREFETCHED = 20
"""Rows, each of which might have a message of 16 MiB."""


@asynccontextmanager
async def postgres_rows(url: str, schemas: Sequence[str], *, is_read_only: bool) -> AsyncIterator[list[Rows]]:
    """Those of each schema, all as they are at one moment; a server may use them where they are only read.

    Raises:
        Unavailable: there is none, another release wrote it, or the server cannot be reached.
    """
    try:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=is_read_only):
                for schema in schemas:
                    await _check(connection, url, schema)
                yield [_PostgresRows(place_of(url), schema, connection) for schema in schemas]
        finally:
            await connection.close()
    except (*LOST, asyncpg.PostgresError) as error:
        raise Unavailable(f"the journal {place_of(url)} refuses: {reason_of(error)}") from error


async def _check(connection: asyncpg.Connection[Any], url: str, schema: str) -> None:
    if not await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{schema}.formats"):
        raise Unavailable(f"there is no journal {place_of(url)}")
    found = await connection.fetchval(f"SELECT max(format) FROM {schema}.formats")
    check_read(f"the journal {place_of(url)}", found or 0, len(MIGRATIONS))


class _PostgresRows(Rows):
    def __init__(self, place: str, schema: str, connection: asyncpg.Connection[Any]) -> None:
        self.place = place
        self._schema = schema
        self._connection = connection

    @override
    def read(self, table: str) -> AsyncGenerator[list[Row]]:
        return batched(self._rows(table))

    async def _rows(self, table: str) -> AsyncGenerator[Row]:
        names = TABLES[table]
        query = f"SELECT {', '.join(names)} FROM {self._schema}.{table} ORDER BY {names[0]}, {names[1]}"
        async for row in self._connection.cursor(query, prefetch=_PREFETCHED):
            yield tuple(row)

    @override
    async def write(self, table: str, rows: Sequence[Row]) -> None:
        if table == "streams":
            title = TABLES[table].index("title")
            rows = [(*row[:title], shown(row[title]), *row[title + 1 :]) for row in rows]
        await self._connection.copy_records_to_table(
            table, records=rows, columns=list(TABLES[table]), schema_name=self._schema
        )

    @override
    async def fault(self) -> str | None:
        return None
