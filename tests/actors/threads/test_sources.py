"""Uploaded agents, on the journal alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.inferlets.agent_sources import MAX_AGENTS, AgentSources
from actors.inferlets.program import AGENT, Source
from actors.inferlets.records import encode_source
from actors.journal.sqlite import SqliteJournal
from api.errors import AgentNotFound, TooBusy
from api.threads.contract import AgentInfo


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db", "NORMAL")
    await journal.start()
    yield journal
    await journal.stop()


async def texts(sources: AgentSources, names: list[str], owner: str = "ada") -> list[str | None]:
    return [(await sources.source(name, owner)).text for name in names]


async def kept_bytes(journal: SqliteJournal, owner: str = "ada") -> int:
    """All that is kept of an owner's agents."""
    items = [
        (space, name) for space in (f"agent/{owner}", f"agent-source/{owner}") for name in await _names(journal, space)
    ]
    return sum([len(await journal.get_item(*item) or b"") for item in items])


async def _names(journal: SqliteJournal, space: str) -> tuple[str, ...]:
    return await journal.list_items(space)


async def test_a_source_is_kept_once_whatever_number_of_names_it_has_and_as_long_as_one_points_to_it(
    journal: SqliteJournal,
) -> None:
    sources, names = AgentSources(journal), [f"a{number:02}" for number in range(64)]
    await sources.put(names, "one.py", "1" * 100_000, "ada")
    assert await texts(sources, names) == ["1" * 100_000] * 64
    assert await kept_bytes(journal) < 120_000
    for _ in range(2):
        await sources.put(names[1:], "two.py", "2" * 100_000, "ada")
    assert await texts(sources, names) == ["1" * 100_000, *["2" * 100_000] * 63]
    assert await kept_bytes(journal) < 220_000
    await sources.put(names, "two.py", "2" * 100_000, "ada")
    assert await kept_bytes(journal) < 120_000
    assert await sources.infos("ada") == [AgentInfo(name, "two.py") for name in names]
    for name in names:
        await sources.remove(name, "ada")
        with pytest.raises(AgentNotFound):
            await sources.source(name, "ada")
    assert await kept_bytes(journal) == 0


async def test_agents_are_their_owners_and_as_many_as_one_may_have(journal: SqliteJournal) -> None:
    sources = AgentSources(journal)
    await sources.put([f"a{number}" for number in range(MAX_AGENTS)], "many.py", "text", "ada")
    with pytest.raises(TooBusy, match=f"may have {MAX_AGENTS} uploaded agents"):
        await sources.put(["a0", "more"], "more.py", "other", "ada")
    assert await texts(sources, ["a0"]) == ["text"]
    await sources.put(["a0"], "more.py", "other", "ada")
    await sources.put(["more"], "more.py", "other", "bob")
    await sources.remove("a1", "ada")
    await sources.put(["more"], "more.py", "other", "ada")
    await sources.remove("more", "bob")
    assert await texts(sources, ["a0", "a2", "more"]) == ["other", "text", "other"]
    with pytest.raises(AgentNotFound):
        await sources.remove("more", "bob")


async def test_what_an_earlier_release_kept_is_found_and_replaced(journal: SqliteJournal) -> None:
    for name in ("loud", "soft"):
        await journal.put_item("agent/ada", name, encode_source(Source(AGENT + name, "mine.py", "x" * 1000)))
    sources = AgentSources(journal)
    assert await sources.infos("ada") == [AgentInfo("loud", "mine.py"), AgentInfo("soft", "mine.py")]
    assert await sources.source("loud", "ada") == Source("agent/loud", "mine.py", "x" * 1000)
    await sources.put(["loud"], "new.py", "y", "ada")
    assert await texts(sources, ["loud", "soft"]) == ["y", "x" * 1000]
    await sources.remove("soft", "ada")
    assert await kept_bytes(journal) < 500


async def test_an_upload_keeps_its_text_whatever_another_at_the_same_time_replaces(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is about to delete what it has replaced when the second one uploads that again."""
    sources = AgentSources(journal)
    await sources.put(["a"], "one.py", "old", "ada")
    delete_item = journal.delete_item

    async def delayed(space: str, name: str) -> bool:
        monkeypatch.setattr(journal, "delete_item", delete_item)
        await sources.put(["a"], "one.py", "old", "ada")
        return await delete_item(space, name)

    monkeypatch.setattr(journal, "delete_item", delayed)
    await sources.put(["a"], "one.py", "new", "ada")
    assert await texts(sources, ["a"]) == ["old"]


async def test_a_text_that_an_earlier_release_named_by_its_hash_is_found_and_replaced(journal: SqliteJournal) -> None:
    hashed = "0" * 32
    await journal.put_item("agent-source/ada", hashed, encode_source(Source(hashed, "one.py", "x" * 1000)))
    await journal.put_item("agent/ada", "a", encode_source(Source(hashed, "one.py")))
    sources = AgentSources(journal)
    assert await texts(sources, ["a"]) == ["x" * 1000]
    await sources.put(["a"], "one.py", "y", "ada")
    assert await texts(sources, ["a"]) == ["y"]
    assert await kept_bytes(journal) < 500


async def test_a_text_that_no_name_came_to_point_to_is_deleted_once_its_upload_must_be_over(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two uploads at once one loses the name, and another one is cut short."""
    sources, is_read, is_last = AgentSources(journal), asyncio.Event(), asyncio.Event()
    put_item = journal.put_item

    async def late(space: str, name: str, value: bytes) -> None:
        monkeypatch.setattr(journal, "put_item", put_item)
        is_read.set()
        await is_last.wait()
        await put_item(space, name, value)

    async def cut_short(space: str, name: str, value: bytes) -> None:
        if space == "agent/ada":
            raise ConnectionError
        await put_item(space, name, value)

    await sources.put(["a"], "one.py", "1" * 1000, "ada")
    monkeypatch.setattr(journal, "put_item", late)
    last = asyncio.create_task(sources.put(["a"], "last.py", "3" * 1000, "ada"))
    await is_read.wait()
    await sources.put(["a"], "two.py", "2" * 1000, "ada")
    is_last.set()
    await last
    with monkeypatch.context() as patched:
        patched.setattr(journal, "put_item", cut_short)
        with pytest.raises(ConnectionError):
            await sources.put(["b"], "cut.py", "4" * 1000, "ada")
    assert len(await journal.list_items("agent-source/ada")) == 3
    await sources.put(["c"], "more.py", "5" * 1000, "ada")
    assert len(await journal.list_items("agent-source/ada")) == 4, "as far as is known, they are being uploaded"
    monkeypatch.setattr("actors.inferlets.agent_sources.PUT_S", -10.0)
    await sources.put(["d"], "late.py", "6" * 1000, "ada")
    assert await texts(sources, ["a", "c", "d"]) == ["3" * 1000, "5" * 1000, "6" * 1000]
    assert len(await journal.list_items("agent-source/ada")) == 3


async def test_uploads_at_once_leave_no_more_agents_than_an_owner_may_have(journal: SqliteJournal) -> None:
    sources = AgentSources(journal)
    uploads = [[f"a{upload}x{number}" for number in range(64)] for upload in range(8)]
    told = await asyncio.gather(*(sources.put(names, "f.py", "x", "ada") for names in uploads), return_exceptions=True)
    refused = [one for one in told if one is not None]
    assert all(isinstance(one, TooBusy) for one in refused)
    kept = {info.name for info in await sources.infos("ada")}
    assert len(kept) == 64 * (8 - len(refused)) <= MAX_AGENTS
    assert len(await journal.list_items("agent-source/ada")) == 8 - len(refused)
