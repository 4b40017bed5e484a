"""A journal of each store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.journal.stores import Store, store_of
from actors.settings import JournalSettings
from tests import postgres


@pytest.fixture(scope="package")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as one:
        yield one


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    settings = JournalSettings(str(tmp_path / "folder" / "journal.db"))
    if request.param == "postgres":
        settings = JournalSettings(url=request.getfixturevalue("server").new_database())
    store = store_of(settings)
    await store.start()
    yield store
    await store.stop()
