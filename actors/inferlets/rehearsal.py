"""Runs a program against a recorded history, and says whether it repeats itself. Nothing is performed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.inferlets.history import Replay
from actors.inferlets.output import Output
from actors.inferlets.program import Source
from actors.inferlets.records import Answer, Continued, Ended, Launched, Record
from actors.inferlets.replayer import ProgramHost
from actors.inferlets.run import ProgramRun
from api.inferlet.context_effects import Notice
from api.inferlet.effects import Effect

INTERVAL_S = 0.01


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How it went: ``sentence`` says where the program differs from its history, or what it does after it."""

    repeats_itself: bool
    sentence: str


async def rehearse(
    instance_id: str, history: Sequence[Record], text: str | None = None, timeout_s: float = 30.0
) -> Rehearsed:
    """Replay an instance's history.

    Args:
        history: from its first record on, which launches the program.
        text: a source to run instead of the recorded one; None for that one.
        timeout_s: for how long the program may make no progress before it has caught up.
    """
    launched = history[0]
    assert isinstance(launched, Launched), "the first record launches it"
    source = Source(launched.program, launched.file, launched.source if text is None else text)
    desk, contexts, end = _Desk(), _Contexts(), asyncio.get_running_loop().create_future()
    host = ProgramHost(instance_id, Replay(history), desk, Output(_ignore, 0), launched.format)
    run = ProgramRun(source, launched.arguments, host, desk, contexts, False, end.set_result)
    run.start()
    try:
        return await _outcome(host, desk, end, timeout_s)
    finally:
        await run.stop(frees_contexts=False)


async def _outcome(host: ProgramHost, desk: _Desk, end: asyncio.Future[Ended], timeout_s: float) -> Rehearsed:
    num_before = host.replay.start.counts.num_calls
    num_calls, seen, seen_at = host.replay.last_call - num_before, host.progress, time.monotonic()
    while not end.done():
        is_waiting = not host.waits.is_empty
        if host.missing is None and (desk.asked or host.is_dormant or is_waiting):
            calls = " and ".join(f"call {call} ({name})" for call, name in sorted(desk.asked.items()))
            otherwise = "for a timer or a thread" if is_waiting else "for nothing that a history has"
            then = f"waits in {calls}" if calls else f"waits {otherwise}"
            return Rehearsed(True, f"the program repeats its {num_calls} calls, and then {then}")
        if host.progress != seen:
            seen, seen_at = host.progress, time.monotonic()
        if time.monotonic() - seen_at > timeout_s:
            return Rehearsed(False, f"the program does not make {host.missing} again")
        await asyncio.sleep(INTERVAL_S)
    ended = end.result()
    if host.diverged or host.missing:
        return Rehearsed(False, str(ended.value))
    return Rehearsed(True, f"the program repeats its {num_calls} calls, and then ends ({ended.how}): {ended.value!r}")


def _ignore(record: object) -> None:
    """What a program has printed before is not printed again."""


class _Desk:
    """Answers nothing; ``asked`` has the calls that the history does not answer, by number."""

    is_blocking = False
    waits_for_clients_only = False
    wakes_at: float | None = None

    def __init__(self) -> None:
        self.arrived: Callable[[Answer], object]
        self.asked: dict[int, str] = {}
        self._stopped = threading.Event()

    def emit(self, record: Record) -> None:
        if isinstance(record, Answer):  # of a call that is answered on the spot
            self.asked.setdefault(record.call, record.effect)
        if isinstance(record, Continued):
            self.asked[record.num_calls + 1] = "continue_as_new"

    hold = emit

    def start(self, call: int, digest: str, effect: Effect[Any]) -> None:
        self.asked[call] = type(effect).__name__

    def ask(self, call: int, digest: str, effect: Effect[Any]) -> Answer:
        self.asked[call] = type(effect).__name__
        self._stopped.wait()
        raise asyncio.CancelledError("the rehearsal is over")

    def cancel(self, call: int) -> None:
        self.asked.pop(call, None)

    def undo(self, answer: Answer) -> None:
        raise AssertionError("nothing is answered here")

    def take_room(self, num_bytes: int) -> bool:
        return True

    def tell(self, notice: Notice) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass

    async def stop(self, is_over: bool) -> None:
        self._stopped.set()


class _Contexts:
    async def close(self) -> None:
        pass

    async def stop(self) -> None:
        pass
