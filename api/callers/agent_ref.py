"""Agents for a Python caller in the cluster, by the names that ``api.client`` has for callers over HTTP.

greenroom = await Greenroom.connect()
response = await greenroom.agent("waiter").async_prompt("A soup, please.")
async for block in response.file.stream():
    async for piece in block.stream():
        print(piece, end="", flush=True)
await response.task.wait()
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from api.callers.blocks import ClientBlock, Growth
from api.callers.following import Following
from api.callers.tasks import TASK_STATES, RunFailed, TaskState
from api.errors import InvalidRequest
from api.threads.blocks import Kind, Role
from api.threads.commands import CancelMode, GivenAnswer, IfBusy, Limits, Prompt, name_of
from api.threads.contract import Agents, BlockQuery, StreamQuery, ThreadHandle, ThreadInfo
from api.threads.runs import Run
from api.wire.thread_views import BlockView, event_view

WAIT_S = 600.0
"""For one call that waits; then there is another."""


@dataclass(slots=True)
class AgentTask:
    """A run: what one prompt has begun. ``run`` is how it was when it was asked for last."""

    run: Run
    _thread: ThreadHandle

    @property
    def id(self) -> str:
        """The run's."""
        return self.run.id

    @property
    def state(self) -> TaskState:
        """As it was when it was asked for last."""
        return TASK_STATES[self.run.state]

    async def refresh(self) -> Run:
        """The run as it is now."""
        self.run = await self._thread.run(self.id)
        return self.run

    async def wait(self) -> Run:
        """The run, once it has succeeded or waits for an answer.

        Raises:
            RunFailed: it failed, or was cancelled.
        """
        while True:
            self.run = await self._thread.wait(self.id, WAIT_S)
            if self.run.state in ("failed", "cancelled"):
                raise RunFailed(self.run)
            if self.run.state in ("succeeded", "waiting"):
                return self.run

    async def cancel(self, mode: CancelMode = "keep") -> Run:
        """End it. Idempotent."""
        self.run = await self._thread.cancel(self.id, mode)
        return self.run

    async def answer(
        self, ask_id: str, *, approve: bool | None = None, value: Any = None, reason: str | None = None
    ) -> Run:
        """Answer what it asks; see ``ThreadHandle.answer``."""
        self.run = await self._thread.answer(self.id, (GivenAnswer(ask_id, approve, value, reason),))
        return self.run

    async def steer(self, prompt: str) -> Run:
        """Let the model read this before its next step; see ``ThreadHandle.steer``."""
        self.run = await self._thread.steer(self.id, prompt)
        return self.run


@dataclass(frozen=True, slots=True)
class AgentThread:
    """A thread, Steamship's file. ``stream`` and ``blocks`` are of one run where it came with that run's prompt."""

    handle: ThreadHandle
    owner: str
    _agents: Agents
    _run_id: str | None = None
    _cursor: str | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.handle.thread_id

    async def stream(self, kinds: Iterable[Kind] = ()) -> AsyncGenerator[ClientBlock]:
        """Blocks as they begin, each to be streamed by itself, until the run has ended; without a run, for ever."""
        following = Following(self._events(StreamQuery(self._run_id, frozenset(kinds))))
        try:
            async with aclosing(following.each()) as blocks:  # type: ignore[type-var]
                async for block in blocks:
                    yield block
        finally:
            await following.close()

    async def blocks(
        self,
        kinds: Iterable[Kind] = (),
        roles: Iterable[Role] = (),
        run_id: str | None = None,
        limit: int = 100,
        *,
        latest_first: bool = False,
    ) -> list[ClientBlock]:
        """Blocks as they are now; by default what user and assistant said."""
        asked = BlockQuery(run_id or self._run_id, frozenset(kinds), frozenset(roles), limit=limit)
        if latest_first:
            asked = BlockQuery(asked.run_id, asked.kinds, asked.roles, limit=limit, is_descending=True)
        found, _ = await self.handle.blocks(asked)
        growth = Growth()
        return [ClientBlock(BlockView.of(block), growth) for block in found]

    async def describe(self) -> ThreadInfo:
        """What it is."""
        return await self.handle.describe()

    async def fork(self, after: str | int | ClientBlock) -> AgentThread:
        """A new thread with what was said and done here up to a block; see ``Agents.fork``."""
        place = after.id if isinstance(after, ClientBlock) else after
        return AgentThread(await self._agents.fork(self.id, place, self.owner), self.owner, self._agents)

    async def delete(self) -> None:
        """Remove it with all that was said."""
        await self.handle.delete()

    async def _events(self, query: StreamQuery) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        async for event in self.handle.stream(self._cursor, query):
            yield event.name, event_view(event)


@dataclass(frozen=True, slots=True)
class PromptResponse:
    """What a prompt has begun: the run, and the thread from where the run begins."""

    task: AgentTask
    file: AgentThread


@dataclass(frozen=True, slots=True)
class AgentRef:
    """An agent by its name; whether there is one shows with the first prompt. ``owner`` is the name of an API key."""

    name: str
    owner: str
    _agents: Agents

    async def async_prompt(
        self,
        prompt: str,
        context_id: str | None = None,
        *,
        context_keys: Mapping[str, str | int | float | bool] | None = None,
        if_busy: IfBusy | None = None,
        tool_choice: str | Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> PromptResponse:
        """Begin a run, durable on return; the arguments are those of ``api.client.ClientAgent``.

        Raises:
            AgentNotFound, ThreadBusy, IdempotencyConflict, InvalidRequest, TooBusy, Unavailable
        """
        if not prompt or (context_id is not None and context_keys is not None):
            raise InvalidRequest("give a prompt, and context_id or context_keys, not both")
        name = context_id if context_keys is None else name_of(context_keys)
        choices = (tool_choice,) if isinstance(tool_choice, str) else tuple(tool_choice)
        command = Prompt(prompt, if_busy, choices, limits, dict(labels or {}), dict(metadata or {}))
        handle = await self._agents.open(self.name, name, self.owner, idempotency_key)
        begun = await handle.prompt(command, idempotency_key)
        file = AgentThread(handle, self.owner, self._agents, begun.run.id, begun.cursor)
        return PromptResponse(AgentTask(begun.run, handle), file)

    async def thread(self, name: str) -> AgentThread:
        """The agent's thread of this name or id.

        Raises:
            ThreadNotFound, ThreadDeleted
        """
        return AgentThread(await self._agents.find(self.name, name, self.owner), self.owner, self._agents)
