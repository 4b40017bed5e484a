"""Agents on the client's side: prompts, and what becomes of them. The names are Steamship's.

response = await client.agent("waiter").async_prompt("A soup, please.")
async for block in response.file.stream():
    async for piece in block.stream():
        print(piece, end="", flush=True)
await response.task.wait()
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from api.callers.blocks import ClientBlock, Growth
from api.callers.following import Following
from api.callers.tasks import TASK_STATES, RunFailed, TaskState
from api.client.server import Server
from api.client.thread_stream import thread_events
from api.wire.thread_views import BegunView, BlocksView, OneRunView, OneThreadView, RunView, ThreadView

WAIT_S = 20.0
"""For one request that waits; then there is another."""

IfBusy = Literal["queue", "reject", "interrupt", "rollback", "steer"]


class ClientTask:
    """A run: what one prompt has begun. ``run`` is how it was when it was asked for last."""

    def __init__(self, server: Server, run_id: str, state: str = "queued") -> None:
        self.id = self.request_id = run_id
        self.run: RunView | None = None
        self._server = server
        self._state = state

    @property
    def state(self) -> TaskState:
        """As it was when it was asked for last."""
        return TASK_STATES[self.run.state if self.run else self._state]

    async def refresh(self) -> RunView:
        """The run as it is now."""
        return await self._ask("GET", "")

    async def wait(self, timeout_s: float | None = None) -> RunView:
        """The run, once it has succeeded or waits for an answer.

        Raises:
            RunFailed: it failed, or was cancelled.
            TimeoutError: it is not so far in time.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                run = await self._ask("GET", f"/wait?timeout_s={WAIT_S:g}")
                if run.state in ("failed", "cancelled"):
                    raise RunFailed(run)
                if run.state in ("succeeded", "waiting"):
                    return run

    async def cancel(self, mode: Literal["keep", "rollback"] = "keep") -> RunView:
        """End it. Idempotent."""
        return await self._ask("POST", "/cancel", {"mode": mode})

    async def answer(
        self, ask_id: str, *, approve: bool | None = None, value: Any = None, reason: str | None = None
    ) -> RunView:
        """Answer what it asks.

        Raises:
            AlreadyAnswered, AskNotFound, RunEnded, InvalidRequest
        """
        given = {"ask_id": ask_id, "approve": approve, "value": value, "reason": reason}
        return await self._ask("POST", "/answers", {"answers": [given]})

    async def steer(self, prompt: str) -> RunView:
        """Let the model read this before its next step.

        Raises:
            RunEnded
        """
        return await self._ask("POST", "/steer", {"prompt": prompt})

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> RunView:
        self.run = (await self._server.ask(OneRunView, method, f"/api/runs/{self.id}{path}", body)).run
        return self.run


class ClientThread:
    """A thread, Steamship's file. ``stream`` and ``blocks`` are of one run where it came with that run's prompt."""

    def __init__(self, server: Server, thread_id: str, run_id: str | None = None, cursor: str | None = None) -> None:
        self.id = thread_id
        self._server = server
        self._run = {"run_id": run_id} if run_id else {}
        self._after = {"after": cursor} if cursor else {}

    async def stream(self, kinds: Sequence[str] = ()) -> AsyncGenerator[ClientBlock]:
        """Blocks as they begin, each to be streamed by itself, until the run has ended; without a run, for ever."""
        query = {**self._run, **self._after, **({"kinds": ",".join(kinds)} if kinds else {})}
        following = Following(thread_events(self._server, self.id, query))
        try:
            async with aclosing(following.each()) as blocks:  # type: ignore[type-var]
                async for block in blocks:
                    yield block
        finally:
            await following.close()

    async def blocks(
        self,
        kinds: Sequence[str] = (),
        roles: Sequence[str] = (),
        run_id: str | None = None,
        limit: int = 100,
        *,
        latest_first: bool = False,
    ) -> list[ClientBlock]:
        """Blocks as they are now; by default what user and assistant said."""
        query = {"kinds": ",".join(kinds), "roles": ",".join(roles), "limit": str(limit), **self._run}
        query |= {"run_id": run_id} if run_id else {}
        query |= {"order": "desc"} if latest_first else {}
        text = "&".join(f"{name}={quote(value)}" for name, value in query.items() if value)
        view = await self._server.ask(BlocksView, "GET", f"/api/threads/{self.id}/blocks?{text}")
        growth = Growth()
        return [ClientBlock(block, growth) for block in view.blocks]

    async def describe(self) -> ThreadView:
        """What it is."""
        return (await self._server.ask(OneThreadView, "GET", f"/api/threads/{self.id}")).thread

    async def fork(self, after: str | int | ClientBlock, *, idempotency_key: str | None = None) -> ClientThread:
        """A new thread with what was said and done here up to a block: that, its id or its ``seq``, or 0 for nothing.

        To change what was said, fork before it, and prompt: ``client.agent(…).async_prompt(…, context_id=fork.id)``.

        Raises:
            ThreadNotFound, ThreadDeleted, BlockNotFound, ThreadBusy, TooBusy, Unavailable
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = {"after": after.id if isinstance(after, ClientBlock) else after}
        answer = await self._server.request("POST", f"/api/threads/{self.id}/fork", json=body, headers=headers)
        return ClientThread(self._server, OneThreadView.model_validate_json(answer.content).thread.id)

    async def delete(self) -> None:
        """Remove it with all that was said."""
        await self._server.send("DELETE", f"/api/threads/{self.id}")


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """What a prompt has begun: the run, and the thread from where the run begins."""

    task: ClientTask
    file: ClientThread


@dataclass(frozen=True, slots=True)
class ChatHistory:
    """What was said in a thread."""

    thread: ClientThread

    async def get_messages(
        self, kinds: Sequence[str] = (), roles: Sequence[str] = (), run_id: str | None = None, limit: int = 100
    ) -> list[ClientBlock]:
        """Blocks, in their order."""
        return await self.thread.blocks(kinds, roles, run_id, limit)

    async def messages(self) -> list[ClientBlock]:
        """What user and assistant said first."""
        return await self.thread.blocks()

    async def last_user_message(self) -> ClientBlock | None:
        """The latest; None where there is none."""
        return await self._last("user")

    async def last_agent_message(self) -> ClientBlock | None:
        """The latest; None where there is none."""
        return await self._last("assistant")

    async def _last(self, role: str) -> ClientBlock | None:
        found = await self.thread.blocks(("message",), (role,), limit=1, latest_first=True)
        return found[0] if found else None


class ClientAgent:
    """An agent by its name; whether there is one shows with the first prompt."""

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        self._server = server

    async def delete(self) -> None:
        """Forget one that was uploaded; threads that have begun go on with it.

        Raises:
            AgentNotFound, NameTaken, Forbidden
        """
        await self._server.send("DELETE", f"/api/agents/{quote(self.name, safe='')}")

    async def async_prompt(
        self,
        prompt: str,
        context_id: str | None = None,
        *,
        context_keys: Mapping[str, str | int | float | bool] | None = None,
        if_busy: IfBusy | None = None,
        tool_choice: str | Sequence[str] | None = None,
        limits: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> StreamingResponse:
        """Begin a run, durable on return. It goes on whether or not anybody follows it.

        Args:
            context_id, context_keys: the name of its thread; a new thread without one.
            if_busy: what happens where the thread works on another prompt; the agent's own choice without it.
            tool_choice: for the first steps: "auto", "none", "required", or a tool's name.
            limits: ``max_actions``, ``max_tokens``, ``timeout_s``, below the agent's own.
            idempotency_key: the same prompt with the same key is the same run.

        Raises:
            AgentNotFound, ThreadBusy, IdempotencyConflict, InvalidRequest, TooBusy, Unavailable
        """
        given = {
            "prompt": prompt,
            "context_id": context_id,
            "context_keys": context_keys,
            "if_busy": if_busy,
            "tool_choice": tool_choice if tool_choice is None or isinstance(tool_choice, str) else list(tool_choice),
            "limits": limits,
            "labels": labels,
            "metadata": metadata,
        }
        path = f"/api/agents/{quote(self.name, safe='')}/async_prompt"
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = {name: value for name, value in given.items() if value is not None}
        answer = await self._server.request("POST", path, json=body, headers=headers)
        begun = BegunView.model_validate_json(answer.content)
        task = ClientTask(self._server, begun.run_id, begun.task.state)
        return StreamingResponse(task, ClientThread(self._server, begun.thread_id, begun.run_id, begun.cursor))
