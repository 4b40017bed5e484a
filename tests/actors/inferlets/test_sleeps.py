"""Programs that sleep often: what their journals keep, and what a replay does."""

from __future__ import annotations

import asyncio
import random
import textwrap
from collections.abc import Callable, Sequence

import pytest

from actors.inferlets.event_loop import IdleSelector
from actors.inferlets.history import Replay
from actors.inferlets.journal_lines import JournalLines
from actors.inferlets.output import Output
from actors.inferlets.program import Source
from actors.inferlets.records import Answer, Ended, Launched, Printed, Read, Record, Slept, Woken, decode
from actors.inferlets.rehearsal import rehearse
from actors.inferlets.replayer import ProgramHost
from actors.inferlets.run import ProgramRun
from tests.actors.inferlets.programs import HEAD, capture_prints
from tests.actors.inferlets.test_replayer import IdleDesk

RACES = """
import random

async def one(number, seed):
    chance = random.Random(seed)
    for _ in range(60):
        delay_s, task = chance.choice((0, 1e-5, 2e-4)), asyncio.current_task()
        try:
            match chance.randrange(6):
                case 0:
                    async with asyncio.timeout(1e-4):
                        await asyncio.sleep(delay_s)
                case 1:
                    await asyncio.wait_for(asyncio.sleep(delay_s), 1e-4)
                case 2:
                    task.cancel()
                    await asyncio.sleep(delay_s)
                case 3:
                    asyncio.get_running_loop().call_soon(print, "soon")
                    await asyncio.create_task(asyncio.sleep(delay_s))
                case _:
                    assert await asyncio.sleep(delay_s, "slept") == "slept"
        except TimeoutError:
            print("late")
        except asyncio.CancelledError:
            task.uncancel()
        print(number, asyncio.get_running_loop().time(), hash(asyncio.get_running_loop().create_future()), now())

@inferlet
async def main(args: Args) -> None:
    await asyncio.gather(*(one(number, f"SEED {number}") for number in range(NUM)))
"""


class Desk(IdleDesk):
    """Nothing waits for it."""

    is_blocking = waits_for_clients_only = False
    wakes_at = None
    arrived: Callable[[Answer], object]

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def stop(self, is_over: bool) -> None:
        pass


class Contexts:
    """None."""

    async def close(self) -> None:
        pass

    async def stop(self) -> None:
        pass


async def ran(source: str, history: Sequence[Record] = ()) -> list[Record]:
    """What is recorded of a program up to its end, after this history."""
    capture_prints()
    desk, ended = Desk(), asyncio.get_running_loop().create_future()
    host = ProgramHost("id", Replay(history), desk, Output(desk.emit, 1 << 20))
    run = ProgramRun(
        Source("p", "p.py", HEAD + textwrap.dedent(source)), (), host, desk, Contexts(), False, ended.set_result
    )
    run.start()
    try:
        assert await asyncio.wait_for(ended, 60) == Ended("completed")
    finally:
        await run.stop(frees_contexts=False)
    assert host.missing is None
    return desk.records


def kept(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """As a journal has them that was given some at a time; its positions are whole but for what was merged."""
    lines, left, end = JournalLines(), list(records), 0
    journal: dict[int, bytes] = {}
    while left:
        number = chance.choice((1, 1, 2, 30))
        written = lines.take(end, left[:number])
        del left[:number]
        journal |= dict(enumerate(written.lines, end))
        end += len(written.lines)
        freed = [journal.pop(position) for one in written.drops for position in one]
        assert sum(map(len, freed)) == written.num_merged_bytes
    found = {position: decode(line) for position, line in journal.items()}
    before = -1
    for position, record in found.items():
        assert position - 1 - before == (record.num_merged if isinstance(record, Slept) else 0)
        before = position
    return list(found.values())


def said(records: Sequence[Record]) -> str:
    """What a program printed."""
    return "".join(record.text for record in records if isinstance(record, Printed))


@pytest.mark.parametrize("num", [1, 3])
@pytest.mark.parametrize("seed", range(4))
async def test_a_replay_does_what_the_program_did_whatever_it_need_not_wait_for(seed: int, num: int) -> None:
    source = RACES.replace("SEED", str(seed)).replace("NUM", str(num))
    first = await ran(source)
    again = await ran(source, kept(first, random.Random(seed)))
    assert said(again) == said(first)
    assert not [record for record in again if isinstance(record, Woken)]


async def test_a_replay_of_timers_one_after_another_seldom_goes_through_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = 0
    select = IdleSelector.select

    def counted(selector: IdleSelector, timeout: float | None = None) -> list[object]:
        nonlocal rounds
        rounds += 1
        return select(selector, timeout)  # type: ignore[return-value]

    monkeypatch.setattr(IdleSelector, "select", counted)
    source = """
        @inferlet
        async def main(args: Args) -> None:
            for _ in range(10_000):
                await asyncio.sleep(60.0)
    """
    woken: list[Record] = [Woken(number, 0, 60.0 * number) for number in range(1, 10_001)]
    assert await ran(source, kept(woken, random.Random(1))) == []
    assert 10 <= rounds < 100


@pytest.mark.parametrize("num_at_once", [1, 7, 1000])
def test_timers_take_few_records_and_few_bytes_however_they_are_written(
    num_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JournalLines, "MAX_ROW", 1000)
    lines, journal, end, num_written = JournalLines(), dict[int, bytes](), 0, 0
    woken = [Woken(number, 3, round(number * 1.234567, 6)) for number in range(1, 5_001)]
    for start in range(0, len(woken), num_at_once):
        written = lines.take(end, woken[start : start + num_at_once])
        journal |= dict(enumerate(written.lines, end))
        end += len(written.lines)
        num_written += sum(map(len, written.lines))
        for position in (position for one in written.drops for position in one):
            del journal[position]
    replay = Replay([decode(line) for line in journal.values()])
    for one in woken:
        assert (given := replay.next()) == one
        assert given is not None
        replay.take(given)
    assert replay.next() is None
    assert len(journal) <= 20
    assert sum(map(len, journal.values())) < 12 * len(woken)
    assert num_written < 200 * len(woken)


def test_timers_are_not_merged_over_what_came_between() -> None:
    lines = JournalLines()
    first, second, third = ([Woken(number, calls, float(number))] for number, calls in ((1, 0), (2, 0), (3, 1)))
    assert not lines.take(0, first).drops
    assert not lines.take(1, [Read(1)]).drops
    assert not lines.take(2, second).drops
    assert not lines.take(3, third).drops


async def test_a_rehearsal_of_a_program_that_sleeps_says_so() -> None:
    source = HEAD + "@inferlet\nasync def main(args):\n    for _ in range(9):\n        await asyncio.sleep(1000.0)\n"
    launched = Launched("p", source, "p.py", (), "name", None, 1)
    rehearsed = await rehearse("id", [launched, *(Woken(number, 0, 1000.0 * number) for number in (1, 2))])
    assert rehearsed.repeats_itself
    assert rehearsed.sentence == "the program repeats its 0 calls, and then waits for a timer or a thread"
