"""What a later release wrote is refused in a sentence; what an earlier one wrote is read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from actors.inferlets import records as inferlet_records
from actors.inferlets.program import Source
from actors.inferlets.records import Launched, decode_source, encode_source
from actors.journal.file import open_file
from actors.journal.sqlite import COLUMNS, MIGRATIONS, SqliteJournal
from actors.sessions import records as session_records
from actors.sessions.records import FORMAT, Opened
from actors.topics.leases import Item, consumer_of
from api.cluster import Retention
from api.errors import Unavailable
from api.names import MessageKey

RECORDED = Path(__file__).parents[1] / "recorded" / "format_0"
LATER = "was written by a later release of Greenroom"


def test_a_stream_without_a_format_has_format_0() -> None:
    name, fields = json.loads(session_records.encode(Opened("s", "m", Retention(), 10, None, None, FORMAT)))
    del fields["format"]
    opened = session_records.decode(json.dumps([name, fields]).encode())
    assert isinstance(opened, Opened)
    assert opened.format == 0


@pytest.mark.parametrize(
    "line",
    [
        b'["Opened", {"session_id": "s", "model": "m", "retention": {}, "max_context":1, "idle_timeout_s": 1, "x":1}]',
        session_records.encode(Opened("s", "m", Retention(), 10, None, None, FORMAT + 1)),
        b'["Dreamt", {}]',
    ],
)
def test_a_session_of_a_later_release_is_refused(line: bytes) -> None:
    with pytest.raises(Unavailable, match=LATER):
        session_records.decode(line)


@pytest.mark.parametrize("line", [b'{"$": ["Dreamt", {}]}', b'{"$": ["PutAway", {"why": "new"}]}'])
def test_an_inferlet_of_a_later_release_is_refused(line: bytes) -> None:
    with pytest.raises(Unavailable, match=LATER):
        inferlet_records.decode(line)


def test_a_new_inferlet_says_its_format_and_an_old_one_has_none() -> None:
    old = inferlet_records.encode(Launched("p", None, "f", (), "n", None))
    assert inferlet_records.decode(old.replace(b',"format":0', b"")).format == 0


async def test_a_file_of_a_later_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(Unavailable, match=LATER):
        await SqliteJournal(path).start()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_program_is_kept_whatever_its_file_is_called_and_read_as_an_earlier_release_kept_it() -> None:
    text = "first line\nsecond {line}\n"
    for file in ("program.py", '{"file":', "a\u00fcb"):
        source = Source("hash", file, text)
        assert decode_source("hash", encode_source(source)) == source
        assert decode_source("hash", f"{file}\n{text}".encode()) == source


@pytest.mark.parametrize("kept", ["", None])
def test_a_lease_without_a_consumer_is_read(kept: object) -> None:
    assert consumer_of(kept) is None


def test_the_consumer_of_a_lease_is_read_as_each_release_kept_it() -> None:
    key = MessageKey("an/id", 7)
    lease = Item(0, 1.0, b"", "ticket", "reader", 1, 2.0, key).lease
    assert consumer_of(json.loads(lease)[-1]) == key
    assert consumer_of("an/id/7") == key


async def test_inferlets_of_an_earlier_release_keep_their_names_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{MIGRATIONS[0]}; {MIGRATIONS[1]}; PRAGMA user_version = 2;")
        rows = [("inferlet/a", "chat\nmodule:main", ""), ("inferlet/b", "b/c\n" + 64 * "0", ""), ("s", "pocket", "Hi")]
        for key, model, title in rows:
            values = (key, "", model, 1, 0.0, 0.0, None, title)
            connection.execute(f"INSERT INTO streams ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    journal = SqliteJournal(path)
    await journal.start()
    found = {stream.key: (stream.title, stream.model) for stream in await journal.streams()}
    await journal.stop()
    expected = {"inferlet/a": ("chat", "module:main"), "inferlet/b": ("b/c", 64 * "0"), "s": ("Hi", "pocket")}
    assert found == expected


async def test_a_file_of_an_earlier_release_says_its_format_once_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    shutil.copy(RECORDED / "journal.db", path)
    journal = SqliteJournal(path)
    await journal.start()
    assert await journal.streams()
    await journal.stop()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_processes_that_open_a_file_at_the_same_moment_bring_it_to_its_format_once(tmp_path: Path) -> None:
    migrations = ("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)", *["UPDATE t SET n = n * 2"] * 4)
    for number in range(10):
        path, together = tmp_path / f"{number}.db", Barrier(4)

        def opened(path: Path = path, together: Barrier = together) -> int:
            together.wait()
            with closing(open_file(path, "NORMAL", migrations)) as connection:
                (value,) = connection.execute("SELECT n FROM t").fetchone()
            return int(value)

        with ThreadPoolExecutor(4) as threads:
            assert [each.result() for each in [threads.submit(opened) for _ in range(4)]] == [16] * 4
