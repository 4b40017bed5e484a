"""In which order turns and edits are accepted in a session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.sessions.history import History
from api.errors import NotLast, SessionNotFound, TurnNotFound


class Order:
    """Knows what was accepted last, and lets the next one wait until it is decided what that has come to.

    An edit is decided when it is in the journal, a turn that begins the context anew when it is admitted or refused:
    what comes later builds on what is then. Until then what is shown names the one before.
    """

    def __init__(self, session_id: str, history: History) -> None:
        self._session_id = session_id
        self._history = history
        self._last: str | None = None
        self._before: str | None = None
        self._undecided: set[asyncio.Task[Any]] = set()
        self._has_ended = False

    @property
    def version(self) -> str | None:
        """See ``SessionLog``: of what is decided."""
        version = self._before if self._undecided else self._last or self._history.version
        return None if version in self._history.hidden else version

    def is_decided(self, unfinished: Sequence[str]) -> bool:
        """Whether it is known what the last turn of those that run or wait has come to."""
        return not self._undecided or not unfinished or self._last != unfinished[-1]

    async def decided(self) -> None:
        """Wait until nothing is undecided; what follows without waiting comes before anything else."""
        while self._undecided:
            await asyncio.wait(self._undecided)

    def check(self, after: str | None, unfinished: Sequence[str]) -> None:
        """Whether the next one comes immediately after this turn or edit, once those that run or wait have ended.

        Raises:
            NotLast: another one was accepted after it.
            SessionNotFound: nothing is accepted any longer.
            TurnNotFound: it is hidden.
        """
        if self._has_ended:
            raise SessionNotFound(self._session_id)
        if after in self._history.hidden:
            raise TurnNotFound(after)
        if after is not None and not self._will_end_with(after, unfinished):
            raise NotLast(f"the session does not end with {after!r:.100}")

    def accept(self, name: str, deciding: asyncio.Task[Any] | None = None) -> None:
        """This turn or edit is the last one from now on; the task ends when it is decided."""
        before = self._last or self._history.version
        self._before, self._last = before if before != name else None, name
        if deciding is not None:
            self._undecided.add(deciding)
            deciding.add_done_callback(self._undecided.discard)

    def withdraw(self, name: str) -> None:
        """This turn has come to nothing: where it was the last one, the one before is."""
        if self._last == name:
            self._last = self._before

    def forget(self) -> None:
        """The history says what the last one is."""
        self._last = self._before = None

    def end(self) -> None:
        """Accept nothing any longer."""
        self._has_ended = True

    def _will_end_with(self, name: str, unfinished: Sequence[str]) -> bool:
        history, context = self._history, self._history.context
        is_end = unfinished[-1] == name if unfinished else history.ends_with(name)
        is_changed = bool(context.told) or context.is_stale or history.is_delisted
        return (is_end and not is_changed) or name == self.version
