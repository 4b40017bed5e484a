"""A small key-value store, shared by the programs of one owner."""

from __future__ import annotations

from typing import Any

from api.inferlet.effects import StoreDelete, StoreGet, StoreList, StorePut
from api.inferlet.host import host
from api.names import check_name
from api.values import Value, snapshot

KEY = "a key"


async def store_get(key: str) -> Any:
    """The value under a key; None where there is none.

    Raises:
        InvalidRequest: of this and the other calls; see ``check_name``.
    """
    check_name(KEY, key)
    return await host().begin(StoreGet(key))


async def store_put(key: str, value: Value) -> None:
    """Set a key. Durable on return.

    Raises:
        InvalidRequest, TooLarge: the value is not text, bytes or JSON of up to 1 MiB.
    """
    check_name(KEY, key)
    await host().begin(StorePut(key, snapshot(value)))


async def store_delete(key: str) -> bool:
    """Remove a key; whether it was there."""
    check_name(KEY, key)
    return await host().begin(StoreDelete(key))


async def store_list(prefix: str = "") -> list[str]:
    """The keys that begin so, in order."""
    if prefix:
        check_name(KEY, prefix)
    return list(await host().begin(StoreList(prefix)))
