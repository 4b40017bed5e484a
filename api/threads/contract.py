"""What the routes and the Python caller need of threads and agents, whatever cluster is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from api.threads.blocks import Block, Kind, Role
from api.threads.commands import CancelMode, GivenAnswer, Prompt
from api.threads.positions import Position
from api.threads.runs import Label, Run, RunState


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent that can be prompted.

    Attributes:
        source: ``module:name`` of one that is configured, the file of one that was uploaded.
    """

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A thread in a list. Times are seconds since the epoch. ``context_id`` is its id where it was not named."""

    id: str
    agent: str
    context_id: str
    created_at: float
    last_used_at: float


@dataclass(frozen=True, slots=True)
class BlockQuery:
    """Which blocks, in order of their creation.

    Attributes:
        kinds, roles: any, where it is empty; where both are, the transcript: messages of user and assistant.
        has_children: of runs that other runs began, too; with ``run_id`` of those below it.
        after, before: seqs.
    """

    run_id: str | None = None
    kinds: frozenset[Kind] = frozenset()
    roles: frozenset[Role] = frozenset()
    after: int = 0
    before: int | None = None
    limit: int = 100
    is_descending: bool = False
    has_children: bool = False


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """Which events. With ``run_id`` they end with that run's. ``has_children``: see ``BlockQuery``."""

    run_id: str | None = None
    kinds: frozenset[Kind] = frozenset()
    has_deltas: bool = True
    has_children: bool = False


EventName = Literal["block.created", "block.delta", "block.completed", "run.updated", "run.ended"]


@dataclass(frozen=True, slots=True)
class ThreadEvent:
    """Something that happened in a thread: an entry of its log, or a piece of an open block.

    Attributes:
        position: where to go on after it.
        data: ``{seq, block}``, ``{seq, run}`` or ``{block_id, run_id, part, offset, text}``.
    """

    position: str
    name: EventName
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events that follow each other, and where to go on after them; ``is_over`` where none will follow."""

    events: tuple[ThreadEvent, ...]
    position: Position
    is_over: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a prompt: its run, and the position in the log before the run's first entry."""

    run: Run
    cursor: str


class ThreadHandle(Protocol):
    """The caller's side of one thread. All calls raise ``ThreadNotFound`` or ``ThreadDeleted`` once it is gone."""

    thread_id: str

    async def prompt(self, prompt: Prompt, key: str | None = None) -> Outcome:
        """Begin a run. Durable on return. The same key again is the same run.

        Raises:
            ThreadBusy: a run is there, and the policy is to refuse.
            IdempotencyConflict: the key was used with another prompt.
            TooBusy: as many runs as are allowed wait.
            AskNotFound, AlreadyAnswered, RunEnded, InvalidRequest: of the answers with it; see ``answer``.
        """
        ...

    async def steer(self, run_id: str, text: str) -> Run:
        """Let a prompt join a run at its next step; the run.

        Raises:
            RunEnded, RunNotFound
        """
        ...

    async def cancel(self, run_id: str, mode: CancelMode = "keep") -> Run:
        """End a run; where it has ended nothing changes.

        Raises:
            RunNotFound
        """
        ...

    async def answer(self, run_id: str, answers: tuple[GivenAnswer, ...]) -> Run:
        """Answer asks of a run; all of these, or none.

        Raises:
            AskNotFound, AlreadyAnswered, RunEnded, RunNotFound
            InvalidRequest: an answer is not of the kind that was asked for.
        """
        ...

    async def run(self, run_id: str) -> Run:
        """A run as it is now.

        Raises:
            RunNotFound
        """
        ...

    async def wait(self, run_id: str, timeout_s: float) -> Run:
        """The same, once it has ended or waits for an answer, or when the time is over."""
        ...

    async def active_runs(self) -> tuple[Run, ...]:
        """Those that have not ended, in the order of their acceptance."""
        ...

    async def run_ids(self) -> tuple[str, ...]:
        """The ids of all runs but those below others, in the order of their acceptance."""
        ...

    async def labelled(self, labels: frozenset[Label]) -> dict[Label, str]:
        """The last run that has each of these labels; of labels that none has nothing."""
        ...

    async def blocks(self, query: BlockQuery) -> tuple[tuple[Block, ...], bool]:
        """Blocks, and whether there are more.

        Raises:
            RunNotFound
        """
        ...

    async def block(self, block_id: str) -> Block:
        """One block, as far as it has come.

        Raises:
            BlockNotFound
        """
        ...

    def stream(self, after: str | None, query: StreamQuery) -> AsyncIterator[ThreadEvent]:
        """Events after a position (None: all), then those that come, without gap or repeat, over crashes.

        It ends with the thread, or with the run that is asked for.

        Raises:
            InvalidRequest: there is no such position.
            RunNotFound
        """
        ...

    async def describe(self) -> ThreadInfo:
        """What it is."""
        ...

    async def delete(self) -> None:
        """Remove it with its runs and blocks. Idempotent."""
        ...


class Agents(Protocol):
    """The agents and threads of the cluster. ``owner`` is the name of the API key, or "" without keys."""

    async def upload(self, source: str, file: str, owner: str) -> tuple[AgentInfo, ...]:
        """Keep the agents of a Python source; a name again is a new version, for threads that begin later.

        Raises:
            InvalidRequest: it is not Python, or has no ``Agent`` with a name that is written in it.
            NameTaken: the configuration has an agent of one of these names.
            TooLarge: it has more than 1 MiB.
            TooBusy: the owner would have too many agents.
        """
        ...

    async def remove(self, agent: str, owner: str) -> None:
        """Forget an agent that was uploaded; threads that have begun go on with it.

        Raises:
            AgentNotFound
            NameTaken: it is the configuration's.
        """
        ...

    async def agents(self, owner: str) -> tuple[AgentInfo, ...]:
        """Those that this owner can prompt."""
        ...

    async def open(
        self,
        agent: str,
        name: str | None,
        owner: str,
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadHandle:
        """The thread of this name of an agent; a new one where there is none, or without a name.

        Without a name, the same key again is the same thread.

        Args:
            idle_timeout_s: a new one is deleted when it has had no active run, and has not been used, for so long; None
                is as configured.

        Raises:
            AgentNotFound, TooBusy
        """
        ...

    async def find(self, agent: str, name: str, owner: str) -> ThreadHandle:
        """The thread of this name or id of an agent.

        Raises:
            ThreadNotFound
            ThreadDeleted: it was named by its id.
        """
        ...

    async def thread(self, thread_id: str, owner: str) -> ThreadHandle:
        """The thread of this id.

        Raises:
            ThreadNotFound: not there, or somebody else's.
            ThreadDeleted
        """
        ...

    async def fork(
        self,
        thread_id: str,
        after: str | int,
        owner: str,
        key: str | None = None,
        *,
        idle_timeout_s: float | None = None,
    ) -> ThreadHandle:
        """A new thread that begins with what was said and done in this one up to a block. Durable on return.

        Args:
            after: the id of a block that is closed, or its seq; 0 for an empty thread.
            key: the same key again is the same fork.
            idle_timeout_s: of the new thread; see ``open``.

        Raises:
            ThreadNotFound, ThreadDeleted, BlockNotFound
            ThreadBusy: the block is open.
            IdempotencyConflict: the key was used with another place.
            TooBusy
        """
        ...

    async def rewind(self, agent: str, name: str, after: int, owner: str) -> ThreadHandle:
        """A fork that has the name from now on; the thread that had it is found by its id. Durable on return.

        Args:
            after: the seq of a block that is closed; 0 for an empty thread.

        Raises:
            ThreadNotFound, BlockNotFound, TooBusy
            ThreadDeleted: meanwhile; the fork is then, too.
            InvalidRequest: the name is the thread's id.
        """
        ...

    async def hide(self, part: str, owner: str) -> None:
        """Note, until ``unhide``, that a part of this owner's threads is not to be found any longer, by a name of the
        caller's own. Durable on return."""
        ...

    async def unhide(self, part: str, owner: str) -> None:
        """Forget the note: the part is gone."""
        ...

    async def is_hidden(self, part: str, owner: str) -> bool:
        """Whether it is."""
        ...

    async def threads(self, owner: str) -> tuple[ThreadInfo, ...]:
        """This owner's threads, the latest used first."""
        ...

    async def runs(
        self, owner: str, state: RunState | None = None, before: tuple[float, str] | None = None, limit: int = 100
    ) -> tuple[Run, ...]:
        """This owner's runs in all threads but for those below other runs, the newest first; with the beginnings of
        their prompts, and without metadata.

        Args:
            before: only those that come after a run of this time and id.
        """
        ...
