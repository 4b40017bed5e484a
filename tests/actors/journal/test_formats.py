"""What a later release wrote is refused in a sentence; what an earlier one wrote is read."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from actors.inferlets import records as inferlet_records
from actors.inferlets.records import Launched
from actors.journal.sqlite import MIGRATIONS, SqliteJournal
from actors.sessions import records as session_records
from actors.sessions.records import FORMAT, Opened
from api.cluster import Retention
from api.errors import Unavailable

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


async def test_a_file_of_an_earlier_release_says_its_format_once_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    shutil.copy(RECORDED / "journal.db", path)
    journal = SqliteJournal(path)
    await journal.start()
    assert await journal.streams()
    await journal.stop()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
