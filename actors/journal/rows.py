"""The rows of stores, as they are copied to others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, Protocol, TypeAlias

Row: TypeAlias = Sequence[Any]

TABLES: Final = {
    "streams": (
        *("key", "owner", "model", "epoch", "created_at", "last_used_at", "expires_at", "title"),
        "is_listed",
    ),
    "records": ("key", "position", "record"),
    "entries": ("key", "name", "owner", "at", "state", "value"),
    "items": ("space", "name", "value"),
}
"""Their columns, in stores of all kinds. The first two put the rows in order."""

MAX_ROWS, MAX_BYTES = 500, 8 << 20
"""Of a batch; one row may be larger."""


class Rows(Protocol):
    """All rows of a store, as they were at one moment."""

    place: str

    def read(self, table: str) -> AsyncGenerator[list[Row]]:
        """Of a table, in the order of their names, some at a time."""
        ...

    async def write(self, table: str, rows: Sequence[Row]) -> None:
        """Add these; durable when the rows are closed without an error, and else not there."""
        ...

    async def fault(self) -> str | None:
        """What the store itself finds wrong with what it has."""
        ...


async def batched(rows: AsyncIterator[Row]) -> AsyncGenerator[list[Row]]:
    """Rows, some at a time."""
    batch, size = list[Row](), 0
    async for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes))
        if len(batch) == MAX_ROWS or size >= MAX_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
