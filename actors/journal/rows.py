"""The rows of a store, as they are copied to another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Sequence[Any]

TABLES = {
    "streams": (
        *("key", "owner", "model", "epoch", "created_at", "last_used_at", "expires_at", "title"),
        "is_listed",
    ),
    "records": ("key", "position", "record"),
    "entries": ("key", "name", "owner", "at", "state", "value"),
    "items": ("space", "name", "value"),
}
"""Their columns, in stores of all kinds. The first two put the rows in order."""

BATCH = 500


class Rows(Protocol):
    """All rows of a store, as they were at one moment."""

    place: str

    def read(self, table: str) -> AsyncIterator[list[Row]]:
        """Of a table, in the order of their names, some at a time."""
        ...

    async def write(self, table: str, rows: Sequence[Row]) -> None:
        """Add these; durable when the rows are closed without an error, and else not there."""
        ...

    async def fault(self) -> str | None:
        """What the store itself finds wrong with what it has."""
        ...


OpenRows: TypeAlias = AbstractAsyncContextManager[Rows]
