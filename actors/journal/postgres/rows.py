"""The rows of a journal's schema."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from actors.journal.postgres.server import LOST, place_of
from actors.journal.rows import BATCH, TABLES, Row, Rows
from api.errors import Unavailable, reason_of


@asynccontextmanager
async def postgres_rows(url: str, schema: str, *, is_read_only: bool) -> AsyncIterator[Rows]:
    """Those of a schema, which a server may use where they are only read.

    Raises:
        Unavailable: there is none, or the server cannot be reached.
    """
    try:
        connection = await asyncpg.connect(url, server_settings={"search_path": f'"{schema}"'})
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=is_read_only):
                yield _PostgresRows(place_of(url), schema, connection)
        finally:
            await connection.close()
    except (*LOST, asyncpg.PostgresError) as error:
        raise Unavailable(f"the journal {place_of(url)} refuses: {reason_of(error)}") from error


class _PostgresRows(Rows):
    def __init__(self, place: str, schema: str, connection: asyncpg.Connection[Any]) -> None:
        self.place = place
        self._schema = schema
        self._connection = connection

    async def read(self, table: str) -> AsyncIterator[list[Row]]:
        names = TABLES[table]
        query = f"SELECT {', '.join(names)} FROM {table} ORDER BY {names[0]}, {names[1]}"
        cursor = await self._connection.cursor(query)
        while rows := await cursor.fetch(BATCH):
            yield [tuple(row) for row in rows]

    async def write(self, table: str, rows: Sequence[Row]) -> None:
        await self._connection.copy_records_to_table(
            table, records=rows, columns=list(TABLES[table]), schema_name=self._schema
        )

    async def fault(self) -> str | None:
        return None
