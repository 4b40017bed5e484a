"""The journal as a named actor, what is counted of it, and the caller's side of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ray

from actors.calls.interface import Interface
from actors.calls.ray import RestartedActor
from actors.calls.socket_server import listen
from actors.calls.started import Started
from actors.counters import Counter
from actors.journal.contract import Journal
from actors.journal.stores import lock_of, store_of
from actors.settings import JournalSettings
from api.errors import Unavailable

JOURNAL_CALLS = Interface(Journal)


class JournalMetrics:
    """What an operator watches of the journal."""

    def __init__(self) -> None:
        def counter(name: str, description: str) -> Counter:
            return Counter(f"greenroom_journal_{name}_total", description, {}, {})

        self._writes = counter("writes", "Writes that are durable, each of some records of one stream")
        self._seconds = counter("write_seconds", "What their writers waited for it, together")
        self._records = counter("records", "Records that are durable")
        self._bytes = counter("bytes", "Bytes of these")
        self._failures = counter("failures", "Calls that the disk or the database did not answer")

    def written(self, records: Sequence[bytes], seconds: float) -> None:
        """Records became durable, so long after they came."""
        self._writes.inc()
        self._seconds.inc(seconds)
        self._records.inc(len(records))
        self._bytes.inc(sum(map(len, records)))

    def failed(self) -> None:
        """A call was not answered."""
        self._failures.inc()


class HostedJournal:
    """The journal in an actor of its own; Ray restarts it when it dies, and its store has everything.

    While another server has the store, every call is refused after ``lock_timeout_s``, in which an earlier life of this
    actor might end; that of a database is no other server's, where it runs on in the same ``cluster``.
    """

    def __init__(self, settings: JournalSettings, cluster: str | None = None, lock_timeout_s: float = 5.0) -> None:
        self._journal = store_of(settings)
        self._lock = lock_of(settings, cluster)
        self._lock_timeout_s = lock_timeout_s
        self._started = Started(self._start)
        self._metrics = JournalMetrics()

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``Journal``."""
        began = time.monotonic()
        try:
            await self._started()
            await self._lock.take(self._lock_timeout_s)
            answer = await JOURNAL_CALLS.dispatch(self._journal, method, arguments)
        except Unavailable:
            self._metrics.failed()
            raise
        if method == "append":
            _, _, _, records, *_ = arguments
            self._metrics.written(records, time.monotonic() - began)
        return answer

    async def _start(self) -> None:
        await self._lock.take(self._lock_timeout_s)
        await self._journal.start()
        await listen(self.call)


JournalActor = ray.remote(HostedJournal)


def journal_ref(actor: Any, timeout_s: float = 60.0) -> Journal:
    """The journal of this actor. Every write may be repeated, so that calls wait while the actor is restarted."""
    return JOURNAL_CALLS.ref(RestartedActor("journal", actor, timeout_s))
