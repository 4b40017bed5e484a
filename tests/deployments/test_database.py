"""What is asked of a journal's database before anything is started."""

from __future__ import annotations

import asyncio

import pytest

from actors.journal.postgres.server import ServerLock
from actors.settings import JournalSettings
from deployments.checks import check_journal
from deployments.failures import CommandFailed
from tests import postgres

pytestmark = pytest.mark.heavy


async def test_a_journal_in_a_database_is_asked_for() -> None:
    with postgres.server() as server:
        settings = JournalSettings(url=server.new_database())
        await asyncio.to_thread(check_journal, settings)
        lock = ServerLock(settings.place)
        await lock.take()
        with pytest.raises(CommandFailed, match="is in use by another server"):
            await asyncio.to_thread(check_journal, settings)
        lock.release()
        with pytest.raises(CommandFailed, match='database "nowhere" does not exist'):
            await asyncio.to_thread(check_journal, JournalSettings(url=server.url("nowhere")))
    with pytest.raises(CommandFailed, match="cannot be reached: "):
        await asyncio.to_thread(check_journal, settings)
