"""When an instance's records are written, on a journal that a test can hold up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from actors.calls.scope import Scope
from actors.inferlets.journal_lines import JournalLines
from actors.inferlets.records import Continued, Read, Record, Sent, Woken, decode
from actors.journal.contract import Acquired, Journal
from actors.journal.sqlite import SqliteJournal
from actors.journal.writer import Recorder
from api.errors import Unavailable


class SlowJournal(SqliteJournal):
    """Appends when it is let; ``began`` is set when it is asked to. ``num_down``: so often it does not answer first."""

    num_down = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path, "NORMAL")
        self.is_let, self.began = asyncio.Event(), asyncio.Event()
        self.is_let.set()

    async def append(self, *arguments: object) -> None:
        """See ``Journal.append``."""
        self.began.set()
        await self.is_let.wait()
        if self.num_down:
            self.num_down -= 1
            raise Unavailable("the journal is down")
        await super().append(*arguments)  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SlowJournal]:
    journal = SlowJournal(tmp_path / "journal.db")
    await journal.start()
    yield journal
    await journal.stop()


class Writes(list[list[Record]]):
    """What was written at a time."""

    expires_at: float | None = None

    async def recorder(self, journal: Journal) -> Recorder[Record]:
        return self.recorder_of(journal, await journal.create("key", "", "", (), None))

    def recorder_of(self, journal: Journal, acquired: Acquired) -> Recorder[Record]:
        lines = JournalLines()
        lines.recover(acquired.positions, [decode(line) for line in acquired.records])
        durable = lambda one: self.append([*one])  # noqa: E731
        return Recorder(journal, acquired, lambda batch: (), lambda: self.expires_at, lines.take, durable, Scope())


WOKEN = [Woken(number, 0, float(number)) for number in range(Recorder.MAX_HELD)]


async def test_what_is_held_is_written_with_what_comes_next_and_before_it(journal: SlowJournal) -> None:
    writes = Writes()
    recorder = await writes.recorder(journal)
    for record in WOKEN[:3]:
        recorder.hold(record)
    await asyncio.sleep(0)
    assert not recorder.is_busy
    recorder.add(Read(1))
    await recorder.flushed()
    assert writes == [[*WOKEN[:3], Read(1)]]


async def test_what_is_held_during_a_write_is_not_written_behind_it(journal: SlowJournal) -> None:
    writes = Writes()
    recorder = await writes.recorder(journal)
    journal.is_let.clear()
    recorder.add(Read(1))
    await journal.began.wait()
    recorder.hold(WOKEN[0])
    writing = recorder._writing
    assert writing is not None
    journal.is_let.set()
    await writing
    assert writes == [[Read(1)]]
    await recorder.flushed()
    assert writes == [[Read(1)], [WOKEN[0]]], "flushed is told of all"


async def test_what_is_held_is_written_once_it_is_much(journal: SlowJournal) -> None:
    writes = Writes()
    recorder = await writes.recorder(journal)
    for record in WOKEN:
        assert not recorder.is_busy
        recorder.hold(record)
    assert recorder.is_busy
    await recorder.flushed()
    assert writes == [WOKEN]


async def test_what_is_held_is_written_soon_where_nothing_else_comes(
    journal: SlowJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "HOLD_S", 0.01)
    writes = Writes()
    recorder = await writes.recorder(journal)
    async with asyncio.timeout(10):
        for record in WOKEN[:3]:
            journal.began.clear()
            recorder.hold(record)
            await journal.began.wait()
    await recorder.flushed()
    assert writes == [[record] for record in WOKEN[:3]]


async def test_what_is_written_after_an_outage_expires_as_long_after_that(journal: SlowJournal) -> None:
    writes = Writes()
    writes.expires_at = 100.0
    recorder = await writes.recorder(journal)
    journal.num_down = 1
    journal.is_let.clear()
    recorder.add(Read(1))
    await journal.began.wait()
    writes.expires_at = 500.0
    journal.is_let.set()
    await recorder.flushed()
    info = await journal.info("key")
    assert info is not None
    assert info.expires_at == 500.0


async def test_what_passes_is_removed_with_the_record_that_begins_the_stream_anew(journal: SlowJournal) -> None:
    """In one write with it or before, once more after an outage, and in a later life."""
    recorder = await Writes().recorder(journal)
    sent, continued = [Sent(call, "", call, False) for call in range(4)], Continued(9, 0, 0, {}, 0, False, "state")
    recorder.add(WOKEN[0])
    await recorder.flushed()
    journal.num_down = 2
    batch: list[Record] = [sent[0], WOKEN[1], WOKEN[2], sent[1], WOKEN[3], continued, WOKEN[4], sent[2]]
    for record in batch:
        recorder.hold(record)
    await recorder.flushed()
    kept: list[Record] = [sent[0], sent[1], continued, WOKEN[4], sent[2]]
    acquired = await journal.acquire("key")
    assert [decode(line) for line in acquired.records] == kept
    later = Writes().recorder_of(journal, acquired)
    batch = [WOKEN[5], sent[3], continued]
    for record in batch:
        later.add(record)
    await later.flushed()
    assert [decode(line) for line in await journal.records("key")] == [*sent, continued]
