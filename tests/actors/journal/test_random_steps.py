"""Random calls of two owners beside a model of the journal, while the store is disturbed between any two statements."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.journal.contract import IndexEntry, Listing
from actors.journal.postgres.journal import PostgresJournal
from actors.journal.sqlite import SqliteJournal
from actors.journal.stores import Store
from api.errors import Fenced, IdTaken, NotFound, RecordsMissing, Unavailable

KEYS, OWNERS, ITEMS = ("a", "b", "c/d"), ("ann", "bob"), ("x", "y", "x/z")


@dataclass
class Stream:
    """What is expected of one."""

    owner: str
    epoch: int
    records: list[bytes | None]
    expires_at: float | None
    title: str
    entries: dict[str, IndexEntry] = field(default_factory=dict)


class Repeating:
    """Makes a call of a store once more where it was disturbed, which changes nothing where it was made after all."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            while True:
                try:
                    return await getattr(self._store, name)(*arguments)
                except Unavailable:
                    continue

        return call


class Model:
    """Makes random calls, and knows what each is to answer."""

    def __init__(self, store: Store, seed: int, disturb: Callable[[random.Random], Awaitable[None]]) -> None:
        self._store = Repeating(store)
        self._draw = random.Random(seed)
        self._disturb = disturb
        self._streams: dict[str, Stream] = {}
        self._items: dict[str, bytes] = {}
        self._held: dict[tuple[str, int], int] = {}
        self._number = 0

    async def step(self) -> None:
        """One call, perhaps disturbed."""
        self._number += 1
        key, who = self._draw.choice(KEYS), self._draw.randrange(2)
        steps = (self._create, self._acquire, self._append, self._append, self._append, self._append, self._delete)
        step = self._draw.choice((*steps, self._give, self._item, self._look))
        if self._draw.random() < 0.05:
            await self._disturb(self._draw)
        await step(key, who)

    async def _create(self, key: str, who: int) -> None:
        owner, record, title = self._draw.choice(OWNERS), b"%d" % self._number, f"title {self._number}"
        known = self._streams.get(key)
        creating = self._store.create(key, owner, "m", [record], None, title)
        if known and (known.owner != owner or known.epoch != 1):
            with pytest.raises(IdTaken):
                await creating
            return
        await creating
        if known is None:
            self._streams[key] = Stream(owner, 1, [record], None, title)
        self._held[key, who] = 1

    async def _acquire(self, key: str, who: int) -> None:
        known = self._streams.get(key)
        if known is None:
            with pytest.raises(NotFound):
                await self._store.acquire(key)
            return
        acquired = await self._store.acquire(key)
        assert acquired.records == tuple(one for one in known.records if one is not None)
        assert acquired.end == len(known.records)
        assert acquired.info.epoch > known.epoch, "once more, where the answer to the first was lost"
        known.epoch = self._held[key, who] = acquired.info.epoch

    async def _append(self, key: str, who: int) -> None:
        known, epoch = self._streams.get(key), self._held.get((key, who), 1)
        end = len(known.records) if known else 0
        position = max(0, end + self._draw.choice((-3, -1, 0, 0, 0, 0, 1)))
        new = [b"%d" % self._number] * self._draw.randrange(4)
        expires_at = self._draw.choice((None, float(self._number)))
        listing = Listing(f"listing {self._number}", "m") if self._draw.random() < 0.3 else None
        entry = IndexEntry(self._draw.choice("ef"), float(self._number), "new", b"%d" % self._number)
        entries = [entry] if self._draw.random() < 0.3 else []
        num_kept = end if position == end and new else max(0, end - 1)
        first = self._draw.randrange(num_kept + 1)
        drops = [range(first, self._draw.randint(first, num_kept))] if self._draw.random() < 0.2 else []
        appending = self._store.append(key, epoch, position, new, expires_at, listing, entries, drops)
        if known is None or known.epoch != epoch:
            with pytest.raises(Fenced):
                await appending
        elif position > end:
            with pytest.raises(RecordsMissing):
                await appending
        else:
            await appending
            known.records += new[end - position :]
            for dropped in (number for one in drops for number in one if position == end):
                known.records[dropped] = None
            known.expires_at = expires_at
            known.title = listing.title if listing else known.title
            known.entries |= {one.name: one for one in entries}

    async def _delete(self, key: str, who: int) -> None:
        if self._draw.random() < 0.5:
            return
        known, epoch = self._streams.get(key), self._draw.choice((None, self._held.get((key, who), 1)))
        if known and epoch not in (None, known.epoch):
            with pytest.raises(Fenced):
                await self._store.delete(key, epoch)
            return
        await self._store.delete(key, epoch)
        self._streams.pop(key, None)

    async def _give(self, key: str, who: int) -> None:
        known, owner = self._streams.get(key), self._draw.choice(OWNERS)
        if known is None:
            with pytest.raises(NotFound):
                await self._store.give(key, owner)
            return
        await self._store.give(key, owner)
        info = await self._store.info(key)
        assert info is not None
        assert info.epoch > known.epoch
        known.owner, known.epoch = owner, info.epoch

    async def _item(self, key: str, who: int) -> None:
        name = self._draw.choice(ITEMS)
        if self._draw.random() < 0.5:
            await self._store.put_item("s", name, b"%d" % self._number)
            self._items[name] = b"%d" % self._number
        else:
            await self._store.delete_item("s", name)
            self._items.pop(name, None)

    async def _look(self, key: str, who: int) -> None:
        found = {info.key: info for info in await self._store.streams()}
        assert found.keys() == self._streams.keys()
        for name, stream in self._streams.items():
            info = found[name]
            expected = (stream.owner, stream.epoch, stream.expires_at, stream.title)
            assert (info.owner, info.epoch, info.expires_at, info.title) == expected
            assert await self._store.records(name) == tuple(one for one in stream.records if one is not None)
        for owner in OWNERS:
            entries = [
                one for stream in self._streams.values() if stream.owner == owner for one in stream.entries.values()
            ]
            entries.sort(key=lambda one: (one.at, one.name), reverse=True)
            assert await self._store.entries(owner, None, None, 100) == tuple(entries)
        assert await self._store.list_items("s") == tuple(sorted(self._items))
        assert {name: await self._store.get_item("s", name) for name in ITEMS} == {
            name: self._items.get(name) for name in ITEMS
        }
        now = float(self._draw.randrange(self._number + 1))
        over = {name for name, stream in self._streams.items() if stream.expires_at and stream.expires_at <= now}
        assert set(await self._store.expired(now)) == over


@pytest.mark.parametrize("num_steps", [400, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
async def test_a_journal_is_what_its_model_says(journal: Store, num_steps: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    disturbing: set[asyncio.Task[None]] = set()

    async def disturb(draw: random.Random) -> None:
        """SQLite's next statements are interrupted; PostgreSQL's connections are ended a moment later."""
        if isinstance(journal, SqliteJournal):
            assert journal._connection is not None
            left, num_interrupts = [draw.randrange(1, 30)], draw.choice((1, 1, 5))

            def is_interrupted() -> int:
                left[0] -= 1
                return -num_interrupts < left[0] <= 0

            journal._connection.set_progress_handler(is_interrupted, draw.randrange(1, 20))
            return
        assert isinstance(journal, PostgresJournal)
        disturbing.add(asyncio.create_task(_end_connections(journal._url, draw.random() * 0.004)))

    model = Model(journal, seed, disturb)
    for _ in range(num_steps):
        await model.step()
        done = {task for task in disturbing if task.done()}
        disturbing -= done
    await asyncio.gather(*disturbing)


async def _end_connections(url: str, wait_s: float) -> None:
    import asyncpg

    await asyncio.sleep(wait_s)
    connection = await asyncpg.connect(url)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    try:
        await connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    except asyncpg.PostgresConnectionError:
        pass  # another one has ended it
    finally:
        connection.terminate()
