"""The journal as a named actor, and the caller's side of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from actors.calls.ray import ActorGone, call
from actors.calls.socket_server import listen
from actors.calls.started import Started
from actors.journal.contract import Acquired, StreamInfo
from actors.journal.lock import JournalLock
from actors.journal.sqlite import SqliteJournal
from api.errors import Unavailable


class HostedJournal:
    """The journal in an actor of its own; Ray restarts it when it dies, and its file has everything.

    While another server has the file, every call is refused after ``lock_timeout_s``, in which an earlier life of this
    actor might end.
    """

    def __init__(self, path: str, synchronous: str, lock_timeout_s: float = 5.0) -> None:
        file = Path(path).expanduser()
        self._journal = SqliteJournal(file, synchronous)
        self._lock = JournalLock(file)
        self._lock_timeout_s = lock_timeout_s
        self._started = Started(self._start)

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``Journal``."""
        await self._started()
        return await getattr(self._journal, method)(*arguments)

    async def _start(self) -> None:
        await self._lock.take(self._lock_timeout_s)
        await self._journal.start()
        await listen(self)


JournalActor = ray.remote(HostedJournal)


class JournalRef:
    """A reference to the journal actor; a ``Journal``.

    Calls wait while the actor is restarted, which is safe since every write may be repeated, and raise
    ``Unavailable`` when it is not back within ``timeout_s``.
    """

    RETRY_S = 0.05

    def __init__(self, actor: Any, timeout_s: float = 60.0) -> None:
        self._actor = actor
        self._timeout_s = timeout_s

    async def create(
        self, key: str, owner: str, model: str, records: Sequence[bytes], expires_at: float | None, title: str = ""
    ) -> Acquired:
        """See ``Journal.create``."""
        return await self._ask("create", key, owner, model, records, expires_at, title)  # type: ignore[no-any-return]

    async def acquire(self, key: str) -> Acquired:
        """See ``Journal.acquire``."""
        return await self._ask("acquire", key)  # type: ignore[no-any-return]

    async def records(self, key: str) -> tuple[bytes, ...]:
        """See ``Journal.records``."""
        return await self._ask("records", key)  # type: ignore[no-any-return]

    async def append(
        self,
        key: str,
        epoch: int,
        position: int,
        records: Sequence[bytes],
        expires_at: float | None,
        title: str | None = None,
    ) -> None:
        """See ``Journal.append``."""
        await self._ask("append", key, epoch, position, records, expires_at, title)

    async def delete(self, key: str, epoch: int | None = None) -> None:
        """See ``Journal.delete``."""
        await self._ask("delete", key, epoch)

    async def give(self, key: str, owner: str) -> None:
        """See ``Journal.give``."""
        await self._ask("give", key, owner)

    async def streams(self, owner: str | None = None) -> tuple[StreamInfo, ...]:
        """See ``Journal.streams``."""
        return await self._ask("streams", owner)  # type: ignore[no-any-return]

    async def info(self, key: str) -> StreamInfo | None:
        """See ``Journal.info``."""
        return await self._ask("info", key)  # type: ignore[no-any-return]

    async def expired(self, now: float) -> tuple[str, ...]:
        """See ``Journal.expired``."""
        return await self._ask("expired", now)  # type: ignore[no-any-return]

    async def put_item(self, space: str, name: str, value: bytes) -> None:
        """See ``Journal.put_item``."""
        await self._ask("put_item", space, name, value)

    async def get_item(self, space: str, name: str) -> bytes | None:
        """See ``Journal.get_item``."""
        return await self._ask("get_item", space, name)  # type: ignore[no-any-return]

    async def delete_item(self, space: str, name: str) -> bool:
        """See ``Journal.delete_item``."""
        return await self._ask("delete_item", space, name)  # type: ignore[no-any-return]

    async def list_items(self, space: str, prefix: str = "") -> tuple[str, ...]:
        """See ``Journal.list_items``."""
        return await self._ask("list_items", space, prefix)  # type: ignore[no-any-return]

    async def _ask(self, method: str, *arguments: Any) -> Any:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return await call(self._actor, "call", method, arguments)
            except ActorGone as error:
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the journal cannot be reached: {type(error).__name__}") from None
            await asyncio.sleep(self.RETRY_S)
