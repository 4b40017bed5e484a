"""Copies a journal from one place to another, and checks what a journal has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from itertools import groupby
from typing import TypeAlias

from actors.journal.keys import parse_journal_key
from actors.journal.rows import TABLES, OpenRows, Rows
from actors.journal.sqlite_rows import sqlite_rows
from actors.journal.stores import file_of, journal_lock, journal_store, topics_file_of, topics_store
from actors.settings import JournalSettings
from api.errors import GreenroomError, Unavailable

PARTS = ("journal", "topics")

Decode: TypeAlias = Callable[[bytes], object]


def open_rows(settings: JournalSettings, part: str, *, is_read_only: bool) -> OpenRows:
    """Those of one of ``PARTS``."""
    if settings.url is None:
        file = file_of(settings) if part == "journal" else topics_file_of(settings)
        return sqlite_rows(file, is_read_only=is_read_only)
    from actors.journal.postgres.rows import postgres_rows

    schema = "greenroom" if part == "journal" else "greenroom_topics"
    return postgres_rows(settings.url, schema, is_read_only=is_read_only)


async def copy(source: JournalSettings, target: JournalSettings, *, is_source_in_use: bool) -> dict[str, int]:
    """Copy all of it, as it is at one moment, to a place that has nothing; the number of rows by ``PART.TABLE``.

    Raises:
        Unavailable: one cannot be read or written, the target is in use, or has something; or so has the source, of
            which that is not said.
    """
    async with open_rows(source, "journal", is_read_only=True):
        pass  # before the target is made
    is_new = target.url is None and not file_of(target).exists()
    locks = [journal_lock(target), *(() if is_source_in_use else (journal_lock(source),))]
    try:
        for lock in locks:
            await lock.take()
        return {
            f"{part}.{table}": count
            for part in PARTS
            for table, count in (await _copy_part(part, source, target)).items()
        }
    except BaseException:
        if is_new:
            _remove(target)
        raise
    finally:
        for lock in locks:
            lock.release()


async def _copy_part(part: str, source: JournalSettings, target: JournalSettings) -> dict[str, int]:
    store = journal_store(target) if part == "journal" else topics_store(target)
    await store.start()
    await store.stop()
    reading, writing = (
        open_rows(source, part, is_read_only=True),
        open_rows(target, part, is_read_only=False),
    )
    async with reading as old, writing as new:
        counts = {}
        for table in TABLES:
            async for _ in new.read(table):
                raise Unavailable(f"the journal {new.place} is not empty")
            counts[table] = 0
            async for rows in old.read(table):
                await new.write(table, rows)
                counts[table] += len(rows)
        return counts


async def faults(settings: JournalSettings, decoders: Mapping[str, Decode]) -> AsyncIterator[str]:
    """What is wrong with a journal, each in a sentence.

    Args:
        decoders: of the records of streams, by the kinds in their keys.

    Raises:
        Unavailable: it cannot be read.
    """
    for part in PARTS:
        async with open_rows(settings, part, is_read_only=True) as rows:
            if fault := await rows.fault():
                yield f"{rows.place}: {fault}"
            async for sentence in _faults_of_records(rows, decoders if part == "journal" else {}):
                yield f"{rows.place}: {sentence}"


async def _faults_of_records(rows: Rows, decoders: Mapping[str, Decode]) -> AsyncIterator[str]:
    keys = {row[0] async for batch in rows.read("streams") for row in batch}
    ends: dict[str, int] = {}
    async for batch in rows.read("records"):
        for key, of_key in groupby(batch, key=lambda row: row[0]):
            if key not in keys and key not in ends:
                yield f"records of {key!r}, which is no stream"
            decode = decoders.get(parse_journal_key(key)[0])
            for _, position, record in of_key:
                if position != (end := ends.get(key, 0)):
                    yield f"{key!r} has no record {end}" + (f" to {position - 1}" if position > end + 1 else "")
                ends[key] = position + 1
                if decode and (reason := _unreadable(decode, record)):
                    yield f"record {position} of {key!r} cannot be read: {reason}"


def _unreadable(decode: Decode, record: bytes) -> str | None:
    try:
        decode(record)
    except (GreenroomError, ValueError, TypeError, KeyError) as error:
        return str(error)
    return None


def _remove(settings: JournalSettings) -> None:
    for file in (file_of(settings), topics_file_of(settings)):
        for one in file.parent.glob(f"{file.name}*"):
            one.unlink()
