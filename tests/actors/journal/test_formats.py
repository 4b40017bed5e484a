"""What a later release wrote is refused in a sentence; what an earlier one wrote is read."""

from __future__ import annotations

import json

import pytest

from actors.inferlets import records as inferlet_records
from actors.inferlets.records import Launched
from actors.sessions import records as session_records
from actors.sessions.records import FORMAT, Opened
from api.cluster import Retention
from api.errors import Unavailable

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
