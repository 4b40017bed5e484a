"""Copies a journal from one place to another, and checks what a journal has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from actors.journal.cuts import Cut, Merged
from actors.journal.file import with_logs
from actors.journal.keys import parse_journal_key
from actors.journal.rows import TABLES, Rows
from actors.journal.sqlite_rows import sqlite_rows
from actors.journal.stores import SCHEMAS, StoreName, files_of, lock_of, store_of
from actors.settings import JournalSettings
from api.errors import GreenroomError, Unavailable, reason_of

Decode: TypeAlias = Callable[[bytes], object]


@asynccontextmanager
async def open_rows(settings: JournalSettings, *, is_read_only: bool) -> AsyncIterator[dict[StoreName, Rows]]:
    """Those of all stores. Of a database they are as at one moment, of files as at moments that follow at once.

    Raises:
        Unavailable: one of them is not there, or cannot be read.
    """
    if settings.url is not None:
        from actors.journal.postgres.rows import postgres_rows

        async with postgres_rows(settings.url, list(SCHEMAS.values()), is_read_only=is_read_only) as found:
            yield dict(zip(SCHEMAS, found, strict=True))
        return
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(sqlite_rows(file, is_read_only=is_read_only))
            for name, file in files_of(settings).items()
        }


async def copy(source: JournalSettings, target: JournalSettings, *, is_source_in_use: bool) -> dict[str, int]:
    """Copy all of it to a place that has nothing; the number of rows by ``STORE.TABLE``.

    Raises:
        Unavailable: one cannot be read or written, the target is in use, or has something; or so has the source, of
            which that is not said.
    """
    locks = [lock_of(target), *(() if is_source_in_use else (lock_of(source),))]
    made: list[Path] = []
    try:
        async with open_rows(source, is_read_only=True) as old:
            for lock in locks:
                await lock.take()
            made += [] if target.url else (file for file in files_of(target).values() if not file.exists())
            for name in SCHEMAS:
                store = store_of(target, name)
                await store.start()
                await store.stop()
            async with open_rows(target, is_read_only=False) as new:
                return await _copied(old, new)
    except BaseException:
        _remove(made)
        raise
    finally:
        for lock in locks:
            lock.release()


async def _copied(old: Mapping[StoreName, Rows], new: Mapping[StoreName, Rows]) -> dict[str, int]:
    for one in new.values():
        for table in TABLES:
            async for _ in one.read(table):
                raise Unavailable(f"the journal {one.place} is not empty")
    counts = {}
    for name, rows in old.items():
        for table in TABLES:
            counts[f"{name}.{table}"] = 0
            async for batch in rows.read(table):
                await new[name].write(table, batch)
                counts[f"{name}.{table}"] += len(batch)
    return counts


def _remove(files: Iterable[Path]) -> None:
    """With SQLite's own beside each; not the lock, which is its holder's."""
    for file in files:
        for one in with_logs(file):
            one.unlink(missing_ok=True)


async def faults(settings: JournalSettings, decoders: Mapping[str, Decode]) -> AsyncIterator[str]:
    """What is wrong with a journal, each in a sentence.

    Args:
        decoders: of the records of streams, by the kinds in their keys.

    Raises:
        Unavailable: it cannot be read.
    """
    async with open_rows(settings, is_read_only=True) as found:
        for name, rows in found.items():
            if fault := await rows.fault():
                yield f"{rows.place}: {fault}"
            async for sentence in _faults_of_records(rows, decoders if name == "journal" else {}):
                yield f"{rows.place}: {sentence}"


async def _faults_of_records(rows: Rows, decoders: Mapping[str, Decode]) -> AsyncIterator[str]:
    keys = {row[0] async for batch in rows.read("streams") for row in batch}
    ends: dict[str, int] = {}
    gaps = list[str]()
    async for batch in rows.read("records"):
        for key, of_key in groupby(batch, key=lambda row: row[0]):
            if key not in ends:
                for gap in gaps:
                    yield gap
                gaps.clear()
            if key not in keys and key not in ends:
                yield f"records of {key!r}, which is no stream"
            decode = decoders.get(parse_journal_key(key)[0])
            for _, position, record in of_key:
                found: object = None
                try:
                    found = decode(record) if decode else None
                except (GreenroomError, ValueError, TypeError, KeyError) as error:
                    yield f"record {position} of {key!r} cannot be read: {reason_of(error)}"
                end, ends[key] = ends.get(key, 0), position + 1
                if isinstance(found, Cut) and found.cuts:
                    gaps.clear()
                elif position - end > (found.num_merged if isinstance(found, Merged) else 0):
                    upto = f" to {position - 1}" if position > end + 1 else ""
                    gaps.append(f"{key!r} has no record {end}{upto}")
    for gap in gaps:
        yield gap
