"""One server has a journal at one time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.calls.wire import SWITCH
from actors.journal.actor import HostedJournal
from actors.journal.lock import JournalLock
from actors.journal.sqlite import SqliteJournal
from actors.settings import JournalSettings
from api.errors import Unavailable

HOLDER = """
import signal, sys
from pathlib import Path
from actors.journal.lock import JournalLock
assert JournalLock(Path(sys.argv[1])).is_taken()
print("taken", flush=True)
signal.pause()
"""


def holder(journal: Path) -> subprocess.Popen[str]:
    """Another process that has the journal."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(journal)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


async def test_a_journal_of_another_server_is_refused_by_name(tmp_path: Path) -> None:
    journal = tmp_path / "new" / "journal.db"
    with holder(journal) as process:
        with pytest.raises(Unavailable) as refused:
            await JournalLock(journal).take()
        process.kill()
    assert str(refused.value) == f"the journal {journal} is in use by another server (process {process.pid})"


async def test_a_journal_actor_serves_nothing_until_the_other_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "0")  # it has no Ray
    journal = tmp_path / "journal.db"
    actor = HostedJournal(JournalSettings(str(journal), "NORMAL"), lock_timeout_s=0.1)
    with holder(journal) as process:
        with pytest.raises(Unavailable, match="in use by another server"):
            await actor.call("streams", ())
        assert not journal.exists()
        os.kill(process.pid, signal.SIGKILL)
    assert await actor.call("streams", ()) == ()


async def test_the_next_life_of_an_actor_waits_for_the_end_of_the_last(tmp_path: Path) -> None:
    lock = JournalLock(tmp_path / "journal.db")
    with holder(tmp_path / "journal.db") as process:
        taking = asyncio.create_task(lock.take(wait_s=10))
        await asyncio.sleep(0.1)
        assert not taking.done()
        process.kill()
    await taking
    assert lock.is_taken()
    lock.release()


async def test_the_lock_outlives_every_descriptor_of_the_journal_itself(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    lock = JournalLock(path)
    await lock.take()
    journal = SqliteJournal(path, "NORMAL")
    await journal.start()
    path.open("rb").close()
    assert not JournalLock(path).is_taken()
    await journal.stop()
    assert not JournalLock(path).is_taken()
    lock.release()
    assert JournalLock(path).is_taken()


async def test_nobody_else_may_read_the_journal(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = tmp_path / "folder" / "journal.db"
        await JournalLock(path).take()
        journal = SqliteJournal(path, "NORMAL")
        await journal.start()
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["journal.db", "journal.db-shm", "journal.db-wal", "journal.db.lock"]
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        await journal.stop()
    finally:
        os.umask(before)
