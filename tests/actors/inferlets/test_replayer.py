"""The host of a program, without its thread and its actor."""

from __future__ import annotations

from typing import Any

from actors.inferlets.history import Replay
from actors.inferlets.output import Output
from actors.inferlets.records import Answer, Record, Returned, Woken
from actors.inferlets.replayer import ProgramHost
from api.inferlet.context_effects import Notice
from api.inferlet.effects import Effect, StoreGet


class IdleDesk:
    """Records, and performs nothing."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.started: list[tuple[int, str]] = []

    def emit(self, record: Record) -> None:
        self.records.append(record)

    hold = emit

    def start(self, call: int, digest: str, effect: Effect[Any]) -> None:
        self.started.append((call, digest))

    def ask(self, call: int, digest: str, effect: Effect[Any]) -> Answer:
        raise NotImplementedError

    def cancel(self, call: int) -> None:
        raise NotImplementedError

    def undo(self, answer: Answer) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError

    def take_room(self, num_bytes: int) -> bool:
        raise NotImplementedError

    def tell(self, notice: Notice) -> None:
        raise NotImplementedError


async def test_results_and_timers_take_turns_where_both_are_there() -> None:
    """Neither holds up the other; and when they are given again, it is in the same order, at the same times."""
    desk = IdleDesk()
    await given(ProgramHost("id", Replay(), desk, Output(desk.emit, 100)), desk, is_again=False)
    kinds = [type(record) for record in desk.records]
    assert kinds in ([Woken, Returned] * 3, [Returned, Woken] * 3)
    again = IdleDesk()
    host = ProgramHost("id", Replay(desk.records), again, Output(again.emit, 100))
    await given(host, again, is_again=True)
    assert again.records == []
    assert host.missing is None
    last = desk.records[-1]
    assert isinstance(last, Woken | Returned)
    assert host.clock.time() == last.at
    assert host.on_idle() is None


async def given(host: ProgramHost, desk: IdleDesk, is_again: bool) -> None:
    """Three results and three timers, one at a time, until there is nothing left."""
    ended = list[int]()
    calls = [host.begin(StoreGet(f"key {number}")) for number in range(3)]
    for number in range(3):
        host.waits.begin_timer(60.0 if is_again else -1.0, lambda number=number: ended.append(number))  # type: ignore[misc]
    for call, digest in desk.started:
        host.arrived(Returned(call, "StoreGet", digest, call))
    for _ in range(6):
        assert host.on_idle() == 0
    assert ended == [0, 1, 2]
    assert [await call for call in calls] == [1, 2, 3]
