"""A recorded history against the same program, and against changed ones."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from actors.inferlets import records
from actors.inferlets.records import Launched, Record
from actors.inferlets.rehearsal import rehearse
from actors.journal.keys import INFERLET, journal_key

RECORDED = Path(__file__).parents[1] / "recorded" / "format_0"
NAMES = tuple(json.loads((RECORDED / "expected.json").read_text())["inferlets"])


def id_of(name: str) -> str:
    instance_id: str = json.loads((RECORDED / "expected.json").read_text())["inferlets"][name][0]
    return instance_id


def history(name: str) -> list[Record]:
    with sqlite3.connect(f"file:{RECORDED / 'journal.db'}?immutable=1", uri=True) as connection:
        query = "SELECT record FROM records WHERE key = ? ORDER BY position"
        return [records.decode(line) for (line,) in connection.execute(query, (journal_key(INFERLET, id_of(name)),))]


def source(name: str) -> str:
    launched = history(name)[0]
    assert isinstance(launched, Launched)
    assert launched.source is not None
    return launched.source


@pytest.mark.parametrize("name", NAMES)
async def test_an_unchanged_program_repeats_itself(name: str) -> None:
    rehearsed = await rehearse(id_of(name), history(name))
    assert rehearsed.repeats_itself, rehearsed.sentence
    assert "waits in call" in rehearsed.sentence


@pytest.mark.parametrize(
    ("name", "before", "after", "sentence"),
    [
        (
            "store",
            'store_put("other", "text")',
            'store_put("other", "longer")',
            "call 2 (StorePut) has other",
        ),
        ("store", 'await store_list("k")', "None", "call 6 was StoreList before, and is StoreDelete now"),
        ("parent", "message = await recv()", "return 1", ""),
        ("timers", "await asyncio.sleep(delay)", "pass", "call 1 (Send) has other arguments"),
        ("talk", "await send([1, 2.5", "await send([1, 3.5", "call 3 (Send) has other arguments than before"),
    ],
)
async def test_a_changed_program_is_told_where_it_differs(name: str, before: str, after: str, sentence: str) -> None:
    changed = source(name).replace(before, after)
    assert changed != source(name)
    rehearsed = await rehearse(id_of(name), history(name), changed, timeout_s=5)
    assert sentence in rehearsed.sentence
    assert rehearsed.repeats_itself is (not sentence)


async def test_a_change_after_the_recorded_calls_is_no_difference() -> None:
    changed = source("queues").replace("await again.ack()", "send('new')").replace('await pull("work")\n    return', "")
    rehearsed = await rehearse(id_of("queues"), history("queues"), changed)
    assert rehearsed.repeats_itself, rehearsed.sentence
