"""The journal on a real PostgreSQL server: transactions that many writes share, restarts, two servers, formats."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeAlias

import asyncpg
import pytest
import pytest_asyncio

from actors.journal.copies import copy
from actors.journal.postgres.journal import PostgresJournal
from actors.journal.postgres.server import ServerLock, place_of
from actors.settings import JournalSettings
from api.errors import Fenced, RecordsMissing, Unavailable
from tests.postgres import Server

pytestmark = pytest.mark.heavy

Opening: TypeAlias = Callable[..., Awaitable[PostgresJournal]]


@pytest_asyncio.fixture
async def opened(server: Server) -> AsyncIterator[Opening]:
    """Opens one more on the same database."""
    url, journals = server.new_database(), list[PostgresJournal]()

    async def open_one(**options: Any) -> PostgresJournal:
        journal = PostgresJournal(url, **options)
        journals.append(journal)
        await journal.start()
        return journal

    yield open_one
    for journal in journals:
        await journal.stop()


async def test_appends_that_come_together_share_a_transaction(
    opened: Opening,
) -> None:
    journal = await opened()
    for number in range(50):
        await journal.create(f"s{number}", "", "pocket", [], None)
    before = await _num_transactions(journal)
    await asyncio.gather(*(journal.append(f"s{number}", 1, 0, [b"x"], None) for number in range(50)))
    assert await _num_transactions(journal) - before <= 4


async def test_what_was_acknowledged_survives_crashes_of_the_server_and_nothing_is_written_twice(
    server: Server, opened: Opening
) -> None:
    journal = await opened()
    acknowledged = dict.fromkeys("abcd", 0)
    for key in acknowledged:
        await journal.create(key, "", "pocket", [], None)

    async def write(key: str) -> None:
        while True:
            await journal.append(key, 1, acknowledged[key], [b"%d" % acknowledged[key]], None)
            acknowledged[key] += 1

    async def grow() -> None:
        before = min(acknowledged.values())
        while min(acknowledged.values()) < before + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    writers = [asyncio.create_task(write(key)) for key in acknowledged]
    for _ in range(2):
        await grow()
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(random.random())
        await asyncio.to_thread(server.start)
    await grow()
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    for key, number in acknowledged.items():
        kept = await journal.records(key)
        assert kept == tuple(b"%d" % position for position in range(len(kept)))
        assert number <= len(kept) <= number + 1


async def test_a_server_that_does_not_come_back_is_said(server: Server) -> None:
    journal = PostgresJournal(server.new_database(), patience_s=0.5)
    await journal.start()
    await asyncio.to_thread(server.stop)
    try:
        with pytest.raises(Unavailable, match=rf"the journal 127\.0\.0\.1:{server.port}/test_.* cannot be reached: \S"):
            await journal.streams()
    finally:
        await asyncio.to_thread(server.start)
    assert await journal.streams() == ()
    await journal.stop()


async def test_two_processes_that_write_one_stream_fence_each_other(
    opened: Opening,
) -> None:
    """Beside a model of the stream: the one that acquired it last writes, at the end or over what is there."""
    draw = random.Random(5)
    journals = [await opened() for _ in range(2)]
    await journals[0].create("a", "", "pocket", [], None)
    epochs, epoch, records = [1, 0], 1, list[bytes]()
    for number in range(300):
        who = draw.randrange(2)
        if draw.random() < 0.2:
            acquired = await journals[who].acquire("a")
            epoch += 1
            assert (acquired.info.epoch, acquired.records) == (epoch, tuple(records))
            epochs[who] = epoch
            continue
        position = max(0, len(records) + draw.choice((-2, -1, 0, 0, 0, 1)))
        new = [b"%d" % number] * draw.randrange(4)
        writing = journals[who].append("a", epochs[who], position, new, None)
        if epochs[who] != epoch:
            with pytest.raises(Fenced):
                await writing
        elif position > len(records):
            with pytest.raises(RecordsMissing):
                await writing
        else:
            await writing
            records += new[len(records) - position :]
    assert await journals[0].records("a") == tuple(records)


async def test_many_that_write_the_same_streams_at_once_get_on(
    opened: Opening,
) -> None:
    journals = [await opened() for _ in range(3)]
    keys = [f"s{number}" for number in range(20)]
    for key in keys:
        await journals[0].create(key, "", "pocket", [], None)
    draw = random.Random(1)
    async with asyncio.timeout(30):
        for _ in range(20):
            draw.shuffle(keys)
            await asyncio.gather(*(journal.append(key, 1, 0, [b"x"], None) for journal in journals for key in keys))
    assert {await journals[0].records(key) for key in keys} == {(b"x",)}


async def test_one_server_at_a_time_has_a_database(server: Server) -> None:
    url = server.new_database()
    first, second = ServerLock(url), ServerLock(url)
    await first.take()
    await first.take()
    with pytest.raises(Unavailable, match="is in use by another server"):
        await second.take(0.2)
    waiting = asyncio.create_task(second.take(30))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    first.release()
    await waiting
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await second.take()
    with pytest.raises(Unavailable, match="is in use by another server"):
        await first.take()
    second.release()


async def test_an_actor_of_the_same_cluster_takes_over_where_the_death_of_the_last_is_not_noticed(
    server: Server,
) -> None:
    url = server.new_database()
    async with Wire(server.port) as wire:
        before, after, other = (
            ServerLock(where, cluster=name) for where, name in ((wire.url(url), "a"), (url, "a"), (url, "b"))
        )
        await before.take()
        wire.is_cut = True
        await after.take()
        with pytest.raises(Unavailable, match="is in use by another server"):
            await other.take()
        after.release()
        with pytest.raises(Unavailable, match="is in use by another server"):
            await other.take(0.2)
        before.release()
    await other.take(10)
    with pytest.raises(Unavailable, match="is in use by another server"):
        await after.take()
    other.release()


async def test_two_clusters_do_not_look_for_each_other_at_one_time(server: Server) -> None:
    """Both would find nobody."""
    url = server.new_database()
    connection, lock = await asyncpg.connect(url), ServerLock(url)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('lock greenroom'))")
        with pytest.raises(Unavailable, match="is in use by another server"):
            await lock.take(0.2)
    await lock.take(0.2)
    lock.release()
    await connection.close()


async def test_tables_of_a_later_release_are_refused_and_left_alone(
    opened: Opening,
) -> None:
    journal = await opened()
    await journal._fetch("INSERT INTO formats VALUES (99)")
    with pytest.raises(Unavailable, match="was written by a later release of Greenroom"):
        await opened()


async def test_several_that_open_a_new_database_at_once_all_do(
    opened: Opening,
) -> None:
    journals = await asyncio.gather(*(opened(schema="topics") for _ in range(4)))
    await journals[0].put_item("s", "a", b"1")
    assert {await journal.get_item("s", "a") for journal in journals} == {b"1"}
    other = await opened(schema="other")
    assert await other.get_item("s", "a") is None


async def test_a_database_that_is_not_there_or_refuses_is_said(server: Server) -> None:
    with pytest.raises(Unavailable, match='refuses: database "nowhere" does not exist'):
        await PostgresJournal(server.url("nowhere")).start()
    url = server.new_database()
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE ROLE reader{server.port} LOGIN")
    await connection.close()
    with pytest.raises(Unavailable, match="refuses: permission denied"):
        await PostgresJournal(url.replace("postgres@", f"reader{server.port}@")).start()


async def test_many_large_appends_are_several_transactions(opened: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresJournal, "MAX_BYTES", 100_000)
    journal = await opened()
    await asyncio.gather(*(journal.create(f"s{number}", "", "pocket", [], None) for number in range(40)))
    before = await _num_transactions(journal)
    sizes = [200_000 if number % 10 == 0 else 30_000 for number in range(40)]
    await asyncio.gather(*(journal.append(f"s{n}", 1, 0, [b"x" * size], None) for n, size in enumerate(sizes)))
    assert 8 <= await _num_transactions(journal) - before <= 20
    assert [len((await journal.records(f"s{number}"))[0]) for number in range(40)] == sizes


async def test_a_server_that_says_nothing_is_lost(
    server: Server, opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.journal.postgres.server._ANSWER_S", 0.3)
    monkeypatch.setattr("actors.journal.postgres.server._CONNECT_S", 0.3)
    monkeypatch.setattr(PostgresJournal, "CLOSE_TIMEOUT_S", 0.3)
    async with Wire(server.port) as wire:
        journal = PostgresJournal(wire.url(server.new_database()), patience_s=0.5)
        await journal.start()
        await journal.create("a", "", "pocket", [], None)
        wire.is_cut = True
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable, match="cannot be reached"):
                await journal.append("a", 1, 0, [b"x"], None)
            await journal.stop()


async def test_a_lock_whose_connection_is_lost_unnoticed_is_not_held(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.journal.postgres.server._CONNECT_S", 0.3)
    monkeypatch.setattr(ServerLock, "ASK_AFTER_S", 0.0)
    url = server.new_database()
    async with Wire(server.port) as wire:
        first, second = ServerLock(wire.url(url)), ServerLock(url)
        await first.take()
        wire.is_cut = True
        connection = await asyncpg.connect(url)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
        await connection.close()
        await second.take(5)
        wire.is_cut = False
        with pytest.raises(Unavailable, match="is in use by another server"):
            await first.take()
        second.release()


async def test_deleting_what_is_not_there_waits_for_nothing(server: Server, opened: Opening) -> None:
    """Else it would delete what is made meanwhile, whatever its epoch."""
    journal = await opened()
    connection = await asyncpg.connect(journal._url)
    async with connection.transaction(), asyncio.timeout(5):
        await connection.execute("LOCK TABLE greenroom.records, greenroom.entries IN ACCESS EXCLUSIVE MODE")
        await journal.delete("missing", 7)
        await journal.delete("missing")
    await connection.close()


async def test_rows_of_another_release_are_not_copied(opened: Opening, tmp_path: Path) -> None:
    journal = await opened()
    await opened(schema="greenroom_topics")
    target, source = JournalSettings(str(tmp_path / "a.db")), JournalSettings(url=journal._url)
    await journal._fetch("INSERT INTO formats VALUES (99)")
    with pytest.raises(Unavailable, match="was written by a later release of Greenroom"):
        await copy(source, target, is_source_in_use=True)
    await journal._fetch("DELETE FROM formats")
    with pytest.raises(Unavailable, match="is of an earlier release"):
        await copy(source, target, is_source_in_use=True)


async def test_schemas_that_an_operator_made_need_no_right_to_make_more(server: Server) -> None:
    url, role = server.new_database(), f"writer{server.port}"
    connection = await asyncpg.connect(url)
    for command in (f"CREATE ROLE {role} LOGIN", f"CREATE SCHEMA greenroom AUTHORIZATION {role}"):
        await connection.execute(command)
    await connection.close()
    for _ in range(2):
        journal = PostgresJournal(url.replace("postgres@", f"{role}@"))
        await journal.start()
        await journal.put_item("s", "a", b"1")
        await journal.stop()


def test_a_server_is_named_without_its_user() -> None:
    assert place_of("postgresql://ann@one:1,two:2/greenroom?target_session_attrs=primary") == "one:1,two:2/greenroom"
    assert place_of("postgresql:///greenroom") == "localhost/greenroom"


class Wire:
    """Between a client and the server; while it is cut it takes everything, and passes nothing on."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_cut = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, url: str) -> str:
        """The same database, through this."""
        return url.replace(f":{self._port}/", f":{self.port}/")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to = await asyncio.open_connection("127.0.0.1", self._port)
        for ends in ((reader, to[1]), (to[0], writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(*ends)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not self.is_cut:
                    writer.write(data)
            if self.is_cut:  # nor does anybody hear of an end
                await asyncio.Event().wait()
        finally:
            writer.close()


async def _num_transactions(journal: PostgresJournal) -> int:
    rows = await journal._fetch("SELECT pg_current_xact_id()::text::bigint")
    return int(rows[0][0])
