"""The PostgreSQL server of a journal: how it is reached, and what it is called."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from actors.calls.ray import patiently
from api.errors import Unavailable, reason_of

LOST = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TransactionRollbackError,
)
"""The server restarts, another takes its place, or two writers have met: the same again might succeed."""

_CONNECT_S = 5.0
_ANSWER_S = 30.0
"""A server that says nothing for so long is lost, as where another has taken its place."""


def place_of(url: str) -> str:
    """The server and its database, for people."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2] or 'localhost'}{parts.path}"


async def open_pool(url: str, schema: str, max_size: int) -> asyncpg.Pool[Any]:
    """Connections that look for names in this schema."""
    settings = {"search_path": f'"{schema}"', "application_name": "greenroom", "synchronous_commit": "on"}
    limits = {"min_size": 1, "max_size": max_size, "timeout": _CONNECT_S, "command_timeout": _ANSWER_S}
    return await asyncpg.create_pool(url, **limits, server_settings=settings, reset=_leave_as_it_is)


async def _leave_as_it_is(connection: object) -> None:
    """A connection that goes back into the pool is as it was: asking the server to make it so takes a round trip."""


class ServerLock:
    """One Greenroom at a time has a database: a lock of the server, held by a connection. See ``JournalLock``.

    Locks of one ``cluster`` share it (None: it is nobody else's). So an actor begins elsewhere while the server has not
    noticed yet that the one before it died, or others cannot reach that: what it still writes, epochs fence.
    """

    RETRY_S = 0.1
    ASK_AFTER_S = 2.0
    """So often it is asked whether the connection is still there: the server might have lost it."""

    def __init__(
        self, url: str, schema: str = "greenroom", patience_s: float = 60.0, cluster: str | None = None
    ) -> None:
        self._url = url
        self._name = f"lock {schema}"
        self._cluster = cluster or secrets.token_hex(16)
        self._patience_s = patience_s
        self._connection: asyncpg.Connection[Any] | None = None
        self._asked_at = 0.0
        self._taking = asyncio.Lock()

    async def take(self, wait_s: float = 0.0) -> None:
        """Take it, once it is free. Idempotent; takes it anew where the server has restarted.

        Raises:
            Unavailable: another process holds it, or the server cannot be reached.
        """
        async with self._taking:
            if await self._is_held():
                return
            try:
                connection = await patiently(self._connect, LOST, self._patience_s)
                await patiently(lambda: self._lock(connection), _Taken, wait_s, self.RETRY_S)
            except _Taken:
                await connection.close()
                raise Unavailable(f"the journal {place_of(self._url)} is in use by another server") from None
            except (*LOST, asyncpg.PostgresError) as error:
                raise Unavailable(f"the journal {place_of(self._url)} cannot be reached: {reason_of(error)}") from error
            self._connection, self._asked_at = connection, time.monotonic()

    def release(self) -> None:
        """Give it back, as the server sees soon. Idempotent."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _is_held(self) -> bool:
        if self._connection is None or self._connection.is_closed():
            return False
        if time.monotonic() - self._asked_at > self.ASK_AFTER_S:
            try:
                await self._connection.execute("SELECT", timeout=_CONNECT_S)
            except (*LOST, asyncpg.PostgresError):
                self.release()
                return False
            self._asked_at = time.monotonic()
        return True

    async def _connect(self) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(self._url, timeout=_CONNECT_S, server_settings=_KEEPALIVE)

    async def _lock(self, connection: asyncpg.Connection[Any]) -> None:
        async with connection.transaction():
            is_alone = await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtext($1))", self._name)
            if not is_alone or not await connection.fetchval(_SHARE, self._name, self._cluster):
                raise _Taken


_KEEPALIVE = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""The server asks so soon whether the holder's machine is still there; by default after two hours."""

_SHARE = """
WITH mine AS (SELECT hashtext($1) AS name, hashtext($2) AS cluster)
SELECT CASE WHEN EXISTS (
    SELECT FROM pg_locks, mine
    WHERE locktype = 'advisory' AND granted AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid::bigint = name & x'ffffffff'::bigint AND objid::bigint <> cluster & x'ffffffff'::bigint
) THEN false ELSE pg_try_advisory_lock_shared(name, cluster) END FROM mine
"""
"""Take a share, unless another cluster has one; whether it was taken."""


class _Taken(Exception):
    """Another connection has the lock."""
