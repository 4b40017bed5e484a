"""Files and folders that no other user of this machine may open."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from actors.journal.file import with_logs
from actors.journal.lock import JournalLock
from actors.journal.stores import files_of
from actors.settings import JournalSettings
from deployments.failures import CommandFailed

OTHERS = 0o077
"""The permissions of everybody else: what a process that makes private files has as its umask."""


def close_to_others(path: Path) -> None:
    """Take the permissions of everybody else away. Idempotent; what is missing or another user's is left alone."""
    try:
        found = path.lstat()
    except OSError:
        return
    if found.st_uid == os.geteuid() and found.st_mode & OTHERS and not stat.S_ISLNK(found.st_mode):
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)


def close_journal(settings: JournalSettings) -> None:
    """The same for a journal's files, which an earlier version may have left open to all."""
    for file in files_of(settings).values():
        for one in (*with_logs(file), JournalLock(file).file):
            close_to_others(one)


def private_temporary_folder() -> Path:
    """This user's folder for what is kept until the machine restarts, under RAY_TMPDIR or the system's own.

    Its name is known beforehand, so it must not have been made by somebody else.

    Raises:
        CommandFailed: it was.
    """
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / f"greenroom-{os.geteuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise CommandFailed(f"{folder} belongs to somebody else: name another folder with RAY_TMPDIR")
    close_to_others(folder)
    return folder
