"""Where a thread's callers give commands and read its log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from typing_extensions import override

from actors.inferlets.clients import Reception
from actors.inferlets.messages import ThreadCalls
from actors.inferlets.thread_log import ThreadLog
from actors.inferlets.thread_reader import ThreadReader
from api.errors import GreenroomError, IdempotencyConflict, InferletEnded, RunEnded, RunNotFound, Unavailable
from api.threads.blocks import Block
from api.threads.contract import BlockQuery, EventBatch, StreamQuery
from api.threads.positions import Position
from api.threads.runs import Label, Run
from api.values import Value

Found = TypeVar("Found")


class ThreadDesk(ThreadCalls):
    """See ``ThreadCalls``. What it tells is durable. Belongs to one event loop.

    Attributes:
        obstacle: why no command is taken in this life; "" where they are.
    """

    def __init__(self, reception: Reception, timeout_s: float) -> None:
        self.log = ThreadLog()
        self.obstacle = ""
        self._reception = reception
        self._timeout_s = timeout_s

    @override
    async def command(self, key: str, value: Value) -> tuple[Run, int]:
        """A refusal is not remembered: its key is free again. What a key conflicts with has its outcome by then."""
        if found := self._ended(value):
            return found
        if self.obstacle:
            raise Unavailable(self.obstacle)
        inbox, number = self._reception.inbox, 0
        while isinstance(self._outcome(f"{key}/{number}"), GreenroomError):
            number += 1
        key = f"{key}/{number}"
        position = await self._reception.deliver(key, value)
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome: tuple[Run, int] | GreenroomError | None = await self._once(lambda: self._taken(key))
        except TimeoutError:
            raise Unavailable("the thread has not taken this yet, and will") from None
        if outcome is None:
            ended = self._reception.ended
            raise InferletEnded(f"the thread has ended: {ended.value!s:.2000}" if ended else "the thread has ended")
        if inbox.values[position] != value:
            raise IdempotencyConflict(f"the key {key.rpartition('/')[0]!r} was used with another body")
        if isinstance(outcome, RunNotFound) and (found := self._ended(_for_run(value))):
            return found  # it ended while the command was on its way, and its program has let go of it
        if isinstance(outcome, GreenroomError):
            raise outcome
        return outcome

    def stop(self, obstacle: str) -> None:
        """Take no command in this life."""
        self.obstacle = obstacle
        self.log.append(())

    @override
    async def thread_run(self, run_id: str, wait_s: float) -> Run:
        self._reception.use()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._once(lambda: self._settled(run_id))
        return self.log.run(run_id)

    @override
    async def thread_active_runs(self) -> tuple[Run, ...]:
        self._reception.use()
        return tuple(self.log.active.values())

    @override
    async def thread_run_ids(self) -> tuple[str, ...]:
        self._reception.use()
        return tuple(run.id for run in self.log.runs.values() if run.parent_run_id is None)

    @override
    async def thread_labelled(self, labels: frozenset[Label]) -> dict[Label, str]:
        self._reception.use()
        return {label: self.log.labelled[label] for label in labels & self.log.labelled.keys()}

    @override
    async def thread_blocks(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        self._reception.use()
        return self.log.page(query)

    @override
    async def thread_block(self, block_id: str) -> Block:
        self._reception.use()
        return self.log.block(block_id)

    @override
    async def thread_events(self, after: str | None, query: StreamQuery, wait_s: float) -> EventBatch:
        self._reception.use()
        batch = EventBatch((), Position.of(after), False)

        def read() -> EventBatch | None:
            nonlocal batch
            batch = ThreadReader(self.log, batch.position, query).read()
            return batch if batch.events or batch.is_over else None

        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._once(read)
        return batch

    def _ended(self, value: Any) -> tuple[Run, int] | None:
        """The run that a command is for, where it has ended: cancelling that changes nothing.

        Raises:
            RunEnded: it is to be answered or steered.
        """
        run = self.log.runs.get(str(value.get("run_id"))) if isinstance(value, dict) else None
        if run is None or not run.is_over:
            return None
        if value.get("command") != "cancel":
            raise RunEnded(f"run {run.id!r} has ended ({run.state})")
        return run, self.log.end

    def _outcome(self, key: str) -> tuple[Run, int] | GreenroomError | None:
        position = self._reception.inbox.position_of(key)
        return None if position is None else self.log.outcome(position)

    def _taken(self, key: str) -> tuple[Run, int] | GreenroomError | None:
        outcome = self._outcome(key)
        if outcome is None and self.obstacle:
            raise Unavailable(f"the thread has not taken this yet, and will: {self.obstacle}")
        return outcome

    def _settled(self, run_id: str) -> Run | None:
        run = self.log.run(run_id)
        return run if run.is_over or run.state == "waiting" else None

    async def _once(self, find: Callable[[], Found | None]) -> Found | None:
        """What is found, once it is; None where the log is over without it.

        Raises:
            Moved: the thread is not here any longer.
        """
        changed = asyncio.Event()
        self.log.watch(changed)
        self._reception.num_readers += 1
        try:
            while (found := find()) is None and not self.log.is_over:
                changed.clear()
                await changed.wait()
                self._reception.use()
            return found
        finally:
            self._reception.num_readers -= 1
            self.log.unwatch(changed)
            self._reception.used_at = time.time()


def _for_run(value: Any) -> Any:
    """What of a command is for a run: the answers with a prompt, or the command itself."""
    return value.get("answering", value)
