"""Threads with thousands of turns: what another turn, another page and another life cost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from actors.inferlets.history import since_checkpoint
from actors.inferlets.records import Checkpointed, Logged, Record
from actors.inferlets.thread_log import ThreadLog
from actors.inferlets.thread_reader import ThreadReader
from api.agents.conversation import Conversation
from api.threads.blocks import Block, Part
from api.threads.contract import BlockQuery, StreamQuery
from api.threads.positions import Position
from api.threads.runs import Run
from api.turns import Message

THREAD = "a" * 32
FEW, MANY = 10, 10_000


def turn(number: int) -> list[Record]:
    """What is logged of one run, of two blocks."""
    run = Run(f"{THREAD}.r{number}", "a", THREAD, THREAD, "p", 1.0, state="running")
    entries = [{"log": "run", "run": run.kept}]
    for index, role in enumerate(("user", "assistant")):
        block_id = f"{THREAD}.b{2 * number + index + 1}"
        block = Block(block_id, run.id, 0, "message", role, "a", 1.0, parts=(Part(text="x"),))  # type: ignore[arg-type]
        entries.append({"log": "created", "block": block.kept})
        entries.append({"log": "completed", "block": block.kept | {"state": "complete"}})
    entries.append({"log": "run", "run": run.kept | {"state": "succeeded"}})
    return [Logged(number, "", entry) for entry in entries]


def log_of(num_turns: int) -> ThreadLog:
    log = ThreadLog()
    for number in range(num_turns):
        log.append(turn(number))
    return log


def conversation_of(num_turns: int) -> Conversation:
    runs = ((Message("user", "a"), Message("assistant", "b")),) * num_turns
    return Conversation((), "context", tuple(range(FEW)), runs)


def fastest_s(work: Callable[[], object], times: int = 20) -> float:
    """Of several times; what else runs on the machine disturbs one or another."""

    def once() -> float:
        began = time.thread_time()
        work()
        return time.thread_time() - began

    return min(once() for _ in range(times))


def step_s(num_turns: int) -> float:
    """Of one turn more: it is logged, a reader that has all before reads it, and the model knows it."""
    log, known, number = log_of(num_turns), conversation_of(num_turns), num_turns

    def step() -> None:
        nonlocal number
        position = Position(log.end)
        log.append(turn(number))
        events = ThreadReader(log, position, StreamQuery(f"{THREAD}.r{number}")).read().events
        blocks, _ = log.page(BlockQuery(f"{THREAD}.r{number}"))
        after = known.read((*known.tokens, number), known.runs[0])
        changes = after.changes_since(known)
        assert (len(events), len(blocks), len(changes["runs"][1])) == (6, 2, 1)
        number += 1

    return fastest_s(step, 100)


def test_a_turn_costs_the_same_after_ten_and_after_ten_thousand() -> None:
    assert step_s(MANY) < 2 * step_s(FEW)


def test_a_page_looks_at_its_own_blocks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    log, looked_at = log_of(MANY), list[str]()
    look = log.block

    def counted(block_id: str) -> Block:
        looked_at.append(block_id)
        return look(block_id)

    monkeypatch.setattr(log, "block", counted)
    seqs = [entry.seq for entry in log.entries if entry.name == "block.created"]
    for is_descending in (False, True):
        for after, before in ((0, 60), (30_000, 30_060), (59_940, None)):
            looked_at.clear()
            blocks, has_more = log.page(BlockQuery(after=after, before=before, limit=5, is_descending=is_descending))
            between = [seq for seq in seqs if after < seq < (before or log.end + 1)]
            assert [block.seq for block in blocks] == (between[::-1] if is_descending else between)[:5]
            assert (has_more, len(looked_at)) == (True, 6)


def test_a_life_begins_in_a_time_that_grows_with_its_checkpoints_and_no_faster() -> None:
    def begin_s(num: int) -> float:
        records = [Checkpointed(number, 0, 0, 0, 0.0, number, is_addition=True) for number in range(num)]
        assert since_checkpoint(records)[0].beginning.notes == tuple(range(num))
        return fastest_s(lambda: since_checkpoint(records), 5)

    assert begin_s(8 * MANY // 4) < 3 * 8 * begin_s(MANY // 4)
