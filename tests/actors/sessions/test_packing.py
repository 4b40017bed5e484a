"""Long sessions: their records become few, whatever happens meanwhile, and say the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.directory.messages import SessionSeed
from actors.journal.copies import faults
from actors.journal.keys import SESSION
from actors.journal.sqlite import SqliteJournal
from actors.models.messages import TurnOutput
from actors.sessions.history import History
from actors.sessions.records import (
    Edited,
    Opened,
    Packed,
    Record,
    RolledBack,
    Titled,
    TurnEnded,
    TurnFailed,
    TurnHidden,
    TurnQueued,
    TurnStarted,
    decode_line,
    encode,
)
from actors.sessions.stream import SessionRecords
from actors.settings import JournalSettings
from api.cluster import Edit, Retention, SessionOptions
from api.errors import GreenroomError, Unavailable
from api.turns import Finish, Message, Text, Tokens, TurnRequest
from tests.actors.fake_engine import greedy
from tests.actors.sessions.test_session import collect, ids, request
from tests.actors.small_cluster import SmallCluster

SEED = SessionSeed("session", "ann", "pocket", Retention(), 1000, None)
OPENED = Opened("session", "pocket", Retention(), 1000, None, format=1)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionRecords, "PACKED", 7)


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db", "NORMAL")
    await journal.start()
    yield journal
    await journal.stop()


def past(chance: random.Random, num: int) -> Iterator[Record]:
    """Of a session, whose context begins anew now and then; some turns fail, are hidden, or are taken back."""
    length, told = 0, tuple[Message, ...]()
    for number in range(num):
        turn_id, said = f"t{number}", Message("user", f"a message {number}\n\u2028é\ud83d")
        turn = TurnRequest(turn_id, (said, Text("x")), note='{"a": 1}' if number % 3 else "")
        edit = Edit(f"e{number}", told=(Message("system", "Be kind."), *told), is_anew=True)
        ids = tuple(chance.choices(range(9), k=5))
        match chance.randrange(8):
            case 0:
                yield TurnQueued(turn, edit)
                yield TurnStarted(turn, len(edit.told), edit, ids)
                length = 0
            case 1:
                yield Edited(Edit(f"e{number}", told=(said,), front="f", hidden=(f"h{number}",)))
                yield TurnStarted(turn, 1)
            case _:
                yield TurnStarted(turn)
        if chance.random() < 0.1:
            yield TurnFailed(turn_id, chance.random() < 0.5, "it broke")
            continue
        yield TurnEnded(turn_id, ids, TurnOutput((number, 8), ("n", "8"), (), Finish("stop")), 1, 1.5)
        told, length = (*told, said), length + 7
        if chance.random() < 0.2:
            yield TurnHidden(turn_id)
        if chance.random() < 0.2:
            yield Titled(f"title {number}")
        if chance.random() < 0.1 and length > 7:
            length = chance.randrange(length)
            yield RolledBack(length, (1, 2))
            length += 2


def state(history: History) -> dict[str, Any]:
    """All that it says."""
    found = {name: value for name, value in vars(history).items() if name != "context"}
    context = history.context
    return found | {name: getattr(context, name) for name in context.__slots__}


class Disturbed:
    """The journal of a process that might die at any write: before it, after it, or at a statement of its transaction.

    What is refused then is a death: nothing is done afterwards.
    """

    def __init__(self, journal: SqliteJournal, chance: random.Random) -> None:
        self._journal, self._chance = journal, chance
        self.num_deaths = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, *arguments: Any, **named: Any) -> None:
        """Or die."""
        if self._chance.random() > 0.3:
            return await self._journal.append(*arguments, **named)
        self.num_deaths += 1
        connection, left = self._journal._connection, self._chance.randrange(1, 40)
        assert connection is not None

        def is_interrupted() -> bool:
            nonlocal left
            left -= 1
            return left == 0

        connection.set_progress_handler(is_interrupted, 1)
        try:
            await self._journal.append(*arguments, **named)
        finally:
            connection.set_progress_handler(None, 0)
        raise Unavailable("it died after this")


@pytest.mark.parametrize("seed", range(3))
async def test_what_a_session_says_is_the_same_after_a_death_at_any_statement(
    seed: int, journal: SqliteJournal
) -> None:
    chance = random.Random(seed)
    disturbed = Disturbed(journal, chance)
    records = await SessionRecords.open(disturbed, "session", SEED)
    expected = History.replay([OPENED])
    for record in past(chance, 60):
        while True:
            try:
                await records.write(record)
            except GreenroomError:
                records = await SessionRecords.open(disturbed, "session", None)
                is_written = records.history.num_records > expected.num_records
                if not is_written:
                    assert state(records.history) == state(expected)
                    continue
            break
        expected.apply(record)
        assert state(records.history) == state(expected)
    assert disturbed.num_deaths > 10
    again = await SessionRecords.open(journal, "session", None)
    assert state(again.history) == state(expected)
    lines = await journal.records("session")
    assert decode_line(lines[0]) == OPENED
    assert len(lines) < expected.num_records / 2
    topics = SqliteJournal(journal._path.with_name("journal-topics.db"))
    await topics.start()
    await topics.stop()
    assert [one async for one in faults(JournalSettings(str(journal._path)), {SESSION: decode_line})] == []


async def test_a_long_session_is_read_in_few_small_records(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionRecords, "PACKED", 256)
    records = await SessionRecords.open(journal, "session", SEED)
    num_bytes = 0
    for record in past(random.Random(1), 600):
        await records.write(record)
        num_bytes += len(encode(record))
    lines = await journal.records("session")
    assert len(lines) < 256 + 12
    assert sum(map(len, lines)) < num_bytes / 2


async def test_a_start_is_never_written_with_what_is_packed(journal: SqliteJournal) -> None:
    """A client waits for its turn's first token meanwhile."""
    records = await SessionRecords.open(journal, "session", SEED)
    chance = random.Random(3)
    for record in past(chance, 40):
        await records.write(record)
        is_packed = isinstance(decode_line((await journal.records("session"))[-1]), Packed)
        assert not (is_packed and isinstance(record, TurnStarted | TurnQueued))


async def test_what_an_earlier_release_left_unpacked_is_packed_but_for_its_beginning(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionRecords, "MAX_UNPACKED", 20)
    history, lines = History(), []
    for record in (OPENED, *(one for number in range(50) for one in turn(number))):
        history.apply(record)
        lines.append(encode(record))
    await journal.create("session", "ann", "pocket", lines, None)
    records = await SessionRecords.open(journal, "session", None)
    await records.write(Titled("a title"))
    assert len(await journal.records("session")) == len(lines) - 20 + 1
    assert (await SessionRecords.open(journal, "session", None)).history.tokens == history.tokens


def turn(number: int) -> list[Record]:
    """One of three tokens."""
    said = TurnRequest(f"t{number}", (Tokens((number,)),))
    return [TurnStarted(said), TurnEnded(f"t{number}", (number,), TurnOutput((1, 2), ("1", "2")))]


async def test_turns_forks_and_rollbacks_go_on_over_deaths_at_any_point(tmp_path: Path) -> None:
    """Through all of a session, with kills between turns and within them."""
    async with SmallCluster(tmp_path, pool_size=1, max_queued_turns=2) as cluster:
        session = await cluster.greenroom.open_session(SessionOptions())
        tokens: list[int] = []
        chance = random.Random(5)
        for number in range(40):
            stream = await session.begin(request(f"t{number}", number, 7))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
                cluster.kill_session(session.session_id)
            assert ids(await collect(stream)) == greedy([*tokens, number, 7], 5)
            tokens += [number, 7, *greedy([*tokens, number, 7], 5)]
            if chance.random() < 0.2:
                cluster.kill_session(session.session_id)
            if chance.random() < 0.2:
                await session.rollback(len(tokens) - 3)
                del tokens[-3:]
        described = await session.describe()
        assert described.length == len(tokens)
        [first, *_] = described.turns
        again = await session.begin(request(first.turn_id, 1))
        assert ids(await collect(again)) == greedy([0, 7], 5), "its id is still known"
        fork = await session.fork(described.turns[4].end_length)
        assert (await fork.describe()).turns == described.turns[:5]
        assert len(await cluster.journal.records(session.session_id)) < 40
