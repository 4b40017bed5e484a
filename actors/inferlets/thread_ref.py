"""The caller's side of a thread."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from typing_extensions import override

from actors.directory.ref import DirectoryRef
from actors.inferlets.messages import INFERLET_CALLS
from actors.inferlets.program import AGENT
from actors.journal.keys import INFERLET
from actors.pool.ref import Location, TenantCall
from api.errors import BlockNotFound, InferletNotFound, InvalidRequest, ThreadBusy, ThreadNotFound, TooBusy
from api.threads.blocks import KINDS, Block
from api.threads.commands import Answers, Cancel, CancelMode, Command, GivenAnswer, Prompt, Steer, sent
from api.threads.contract import BlockQuery, Outcome, StreamQuery, ThreadEvent, ThreadHandle, ThreadInfo
from api.threads.runs import Label, Run
from api.values import snapshot

Answer = TypeVar("Answer")


class ThreadRef(ThreadHandle):
    """A reference to one thread by its id, wherever it lives. ``forget`` notes that it was deleted.

    Attributes:
        release_key: notes that the prompt which the thread was opened for was refused, so that its key is free again.
    """

    WAIT_S = 20.0

    def __init__(
        self,
        location: Location,
        directory: DirectoryRef,
        timeout_s: float,
        forget: Callable[[], Awaitable[None]],
    ) -> None:
        self.thread_id = location.id
        self._directory = directory
        self.release_key: Callable[[], Awaitable[None]] | None = None
        self._forget = forget
        self._calls = INFERLET_CALLS.ref(TenantCall(INFERLET, location, directory.locate_inferlet, timeout_s))

    @override
    async def prompt(self, prompt: Prompt, key: str | None = None) -> Outcome:
        try:
            run, seq = await self._command(prompt, key)
        except (InvalidRequest, ThreadBusy, TooBusy):
            if self.release_key:
                await self.release_key()
            raise
        return Outcome(run, str(seq))

    @override
    async def steer(self, run_id: str, text: str) -> Run:
        return (await self._command(Steer(run_id, text)))[0]

    @override
    async def cancel(self, run_id: str, mode: CancelMode = "keep") -> Run:
        return (await self._command(Cancel(run_id, mode)))[0]

    @override
    async def answer(self, run_id: str, answers: tuple[GivenAnswer, ...]) -> Run:
        return (await self._command(Answers(run_id, answers)))[0]

    @override
    async def run(self, run_id: str) -> Run:
        return await self._found(self._calls.thread_run(run_id, 0.0))

    @override
    async def wait(self, run_id: str, timeout_s: float) -> Run:
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            run = await self._found(self._calls.thread_run(run_id, min(left_s, self.WAIT_S)))
            if run.is_over or run.state == "waiting" or time.monotonic() >= deadline:
                return run

    @override
    async def active_runs(self) -> tuple[Run, ...]:
        return await self._found(self._calls.thread_active_runs())

    @override
    async def run_ids(self) -> tuple[str, ...]:
        return await self._found(self._calls.thread_run_ids())

    @override
    async def labelled(self, labels: frozenset[Label]) -> dict[Label, str]:
        return await self._found(self._calls.thread_labelled(labels))

    @override
    async def blocks(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        return await self._found(self._calls.thread_blocks(query))

    @override
    async def block(self, block_id: str) -> Block:
        return await self._found(self._calls.thread_block(block_id))

    async def closed_block(self, after: str | int) -> int:
        """The seq of a block that is closed, by its id or that seq.

        Raises:
            BlockNotFound
            ThreadBusy: it is open.
        """
        if isinstance(after, int):
            query = BlockQuery(None, frozenset(KINDS), after=after - 1, before=after + 1, limit=1, has_children=True)
            found, _ = await self.blocks(query)
        else:
            found = (await self.block(after),)
        for block in found:
            if block.state == "open":
                raise ThreadBusy(f"block {block.id} is open: run {block.run_id} works on it")
            return block.seq
        raise BlockNotFound(str(after))

    @override
    async def stream(self, after: str | None, query: StreamQuery) -> AsyncIterator[ThreadEvent]:
        while True:
            try:
                batch = await self._found(self._calls.thread_events(after, query, self.WAIT_S))
            except ThreadNotFound:
                return  # it was deleted
            for event in batch.events:
                yield event
            if batch.is_over:
                return
            after = str(batch.position)

    @override
    async def describe(self) -> ThreadInfo:
        summary = (await self._found(self._calls.describe())).summary
        agent = summary.program.removeprefix(AGENT)
        return ThreadInfo(self.thread_id, agent, summary.name, summary.created_at, summary.last_used_at)

    @override
    async def delete(self) -> None:
        with suppress(InferletNotFound):
            await self._calls.terminate()
        await self._forget()
        await self._directory.close_inferlet(self.thread_id)

    async def _command(self, command: Command, key: str | None = None) -> tuple[Run, int]:
        message = snapshot(sent(command))
        return await self._found(self._calls.command(key or uuid.uuid4().hex, message))

    async def _found(self, answer: Awaitable[Answer]) -> Answer:
        try:
            return await answer
        except InferletNotFound:
            raise ThreadNotFound(self.thread_id) from None
