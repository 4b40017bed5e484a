"""The journal as a named actor, and the caller's side of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from actors.calls.interface import Interface
from actors.calls.ray import RestartedActor
from actors.calls.socket_server import listen
from actors.calls.started import Started
from actors.journal.contract import Journal
from actors.journal.stores import lock_of, store_of
from actors.settings import JournalSettings

JOURNAL_CALLS = Interface(Journal)


class HostedJournal:
    """The journal in an actor of its own; Ray restarts it when it dies, and its store has everything.

    While another server has the store, every call is refused after ``lock_timeout_s``, in which an earlier life of this
    actor might end.
    """

    def __init__(self, settings: JournalSettings, lock_timeout_s: float = 5.0) -> None:
        self._journal = store_of(settings)
        self._lock = lock_of(settings)
        self._lock_timeout_s = lock_timeout_s
        self._started = Started(self._start)

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``Journal``."""
        await self._started()
        await self._lock.take(self._lock_timeout_s)
        return await JOURNAL_CALLS.dispatch(self._journal, method, arguments)

    async def _start(self) -> None:
        await self._lock.take(self._lock_timeout_s)
        await self._journal.start()
        await listen(self.call)


JournalActor = ray.remote(HostedJournal)


def journal_ref(actor: Any, timeout_s: float = 60.0) -> Journal:
    """The journal of this actor. Every write may be repeated, so that calls wait while the actor is restarted."""
    return JOURNAL_CALLS.ref(RestartedActor("journal", actor, timeout_s))
