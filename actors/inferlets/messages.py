"""What an inferlet's actor receives."""

from __future__ import annotations

from typing import Protocol

from actors.calls.interface import Interface
from api.inferlet_events import Event
from api.inferlets import InferletDescription
from api.threads.blocks import Block
from api.threads.contract import BlockQuery, EventBatch, StreamQuery
from api.threads.runs import Label, Run
from api.values import Value


class ThreadCalls(Protocol):
    """The calls of an inferlet that is a thread of an agent; of others nothing is found."""

    async def command(self, key: str, value: Value) -> tuple[Run, int]:
        """A command, once for each key; the run that it concerns, and the seq before the run's first entry.

        Raises:
            GreenroomError: the thread refuses it; see ``ThreadHandle``.
        """
        ...

    async def thread_run(self, run_id: str, wait_s: float) -> Run:
        """See ``ThreadHandle.wait``."""
        ...

    async def thread_active_runs(self) -> tuple[Run, ...]:
        """See ``ThreadHandle.active_runs``."""
        ...

    async def thread_run_ids(self) -> tuple[str, ...]:
        """See ``ThreadHandle.run_ids``."""
        ...

    async def thread_labelled(self, labels: frozenset[Label]) -> dict[Label, str]:
        """See ``ThreadHandle.labelled``."""
        ...

    async def thread_blocks(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        """See ``ThreadHandle.blocks``."""
        ...

    async def thread_block(self, block_id: str) -> Block:
        """See ``ThreadHandle.block``."""
        ...

    async def thread_events(self, after: str | None, query: StreamQuery, wait_s: float) -> EventBatch:
        """Events after a position, once there are some; none after ``wait_s``. Not more than a batch."""
        ...


class InferletCalls(ThreadCalls, Protocol):
    """The calls of an inferlet. Each raises ``Moved`` where the inferlet is not on this actor, or leaves it."""

    async def deliver(self, key: str, value: Value) -> int:
        """See ``InferletHandle.send``."""
        ...

    async def read(self, after: int, wait_s: float) -> tuple[Event, ...]:
        """See ``Reception.read``."""
        ...

    async def describe(self) -> InferletDescription:
        """See ``InferletHandle.describe``."""
        ...

    async def terminate(self) -> bool:
        """See ``InferletHandle.terminate``."""
        ...


INFERLET_CALLS = Interface(InferletCalls)
