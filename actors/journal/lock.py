"""The lock on a journal's files: one server at a time has them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

from api.errors import Unavailable


class JournalLock:
    """Held from ``take`` to the end of the process, whichever way it ends: the kernel takes it back.

    A file beside the journal, since SQLite's own locks go with the first descriptor of the journal that is closed.
    """

    RETRY_S = 0.05

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor: int | None = None

    async def take(self, wait_s: float = 0.0) -> None:
        """Take it, once it is free: an earlier holder might be about to end. Idempotent.

        Raises:
            Unavailable: another process holds it; names that.
        """
        deadline = time.monotonic() + wait_s
        while not self.is_taken():
            if time.monotonic() >= deadline:
                raise Unavailable(self.refusal())
            await asyncio.sleep(self.RETRY_S)

    def is_taken(self) -> bool:
        """Whether this process holds it now, after trying to take it."""
        if self._descriptor is not None:
            return True
        self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def refusal(self) -> str:
        """Why it cannot be taken."""
        try:
            holder = f" (process {int(self.file.read_text())})"
        except (OSError, ValueError):
            holder = ""
        return f"the journal {self._journal} is in use by another server{holder}"

    @property
    def file(self) -> Path:
        """What is locked."""
        return self._journal.with_name(f"{self._journal.name}.lock")
