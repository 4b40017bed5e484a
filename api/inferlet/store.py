"""A small key-value store, shared by the programs of one owner."""

from __future__ import annotations

from typing import Any

from api.inferlet.effects import StoreDelete, StoreGet, StoreList, StorePut
from api.inferlet.host import host
from api.values import Value, encode


async def store_get(key: str) -> Any:
    """The value under a key; None where there is none."""
    return await host().begin(StoreGet(key))


async def store_put(key: str, value: Value) -> None:
    """Set a key. Durable on return."""
    encode(value)
    await host().begin(StorePut(key, value))


async def store_delete(key: str) -> bool:
    """Remove a key; whether it was there."""
    return await host().begin(StoreDelete(key))


async def store_list(prefix: str = "") -> list[str]:
    """The keys that begin so, in order."""
    return list(await host().begin(StoreList(prefix)))
