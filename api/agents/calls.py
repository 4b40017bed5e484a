"""One call of a tool: approved where that is needed, run once, and its result a block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from api.agents.agent import Agent, Asked, Callables, HandedOver, Handoff
from api.agents.asks import Expired
from api.agents.call_context import CallContext
from api.agents.failures import CallFailed, Failed
from api.agents.memories import remembered
from api.agents.tools import ClientTool, FunctionTool, IfExpired, validated
from api.agents.work import work_of
from api.agents.writer import OpenBlock
from api.errors import GreenroomError, InvalidRequest, WorkerLost, reason_of
from api.inferlet import now
from api.inferlet.host import host
from api.inferlet.work_effects import Abandoned, AnswerWork, NextOutput, Work
from api.threads.blocks import Answer, Ask, BlockError, Part
from api.threads.runs import Run
from api.tools import ToolCall

Arguments = TypeVar("Arguments", bound=BaseModel)


class Delegating(Protocol):
    """The run of a call, as calls need it. ``agent`` works on it."""

    agent: Agent

    async def delegate(self, agent: Agent, text: str) -> tuple[Part, ...]:
        """The agent's answer."""
        ...

    def hand_over(self, agent: Agent) -> None:
        """The agent goes on with the run."""
        ...


class Waiting(Protocol):
    """Has a call wait, and counts it; see ``Asks``."""

    async def answer_to(self, block: OpenBlock, if_expired: IfExpired) -> Answer:
        """The answer to an ask."""
        ...

    def end(self, has_failed: bool) -> None:
        """A call has ended."""
        ...


@dataclass(slots=True)
class Call:
    """See the module. ``run`` has the ids of the run that it belongs to, which counts it as active until it ends.

    ``tool`` is None where the model has called one that the agent does not have.
    """

    run: Run
    tool: Callables | None
    made: ToolCall
    asks: Waiting
    new_block: Callable[..., OpenBlock]
    task: Delegating
    result: OpenBlock | None = None

    async def perform(self) -> str:
        """What the model is told of its result.

        Raises:
            Failed: the run fails with it.
        """
        answer: str | None = None
        try:
            await self._perform()
            answer = self._result().close().told
        except CallFailed as error:
            answer = self.refuse(error.error)
        except WorkerLost as error:
            self._result().close("failed", error=BlockError("worker_lost", str(error)))
            raise Failed("worker_lost", str(error)) from None
        except Expired:
            self._result().close("failed", error=BlockError("ask_expired", "nobody answered in time"))
            raise Failed("ask_expired", f"nobody answered what {self.made.name} asked for") from None
        finally:
            if self.result:
                self.result.close("cancelled")
            self.asks.end(has_failed=answer is None)
        return answer

    def refuse(self, error: BlockError) -> str:
        """The call has failed; what the model is told."""
        self._result().close("failed", error=error)
        return f"Error: {error.message}"

    async def _perform(self) -> None:
        if self.tool is None:
            raise CallFailed("unknown_tool", f"there is no tool {self.made.name!r:.200}")
        if isinstance(self.tool, ClientTool):
            answer = await self._ask("client_tool", self.made.name, {})
            if answer.approve is False:
                raise CallFailed("denied", answer.reason or "the caller refused this call")
            value = answer.value
            return self._result().begin_part(Part(text=value) if isinstance(value, str) else Part.of_json(value))
        if isinstance(self.tool, Agent):
            for part in await self.task.delegate(self.tool, self._valid(Asked).prompt):
                self._result().begin_part(part)
            return
        if isinstance(self.tool, Handoff):
            self._valid(HandedOver)
            self.task.hand_over(self.tool.agent)
            return self._result().begin_part(Part(text=f"{self.tool.agent.name} goes on."))
        try:
            arguments = self.tool.arguments(self.made.arguments)
        except InvalidRequest as error:
            raise CallFailed("invalid_arguments", str(error)) from None
        try:
            needs_approval = self.tool.asks_for(arguments)
        except Exception as error:
            raise CallFailed("tool_error", f"{type(error).__name__}: {reason_of(error)}") from None
        if needs_approval:
            await self._approved(self.tool)
        await self._run(self.tool, arguments)

    def _valid(self, model: type[Arguments]) -> Arguments:
        try:
            return validated(model, self.made.arguments)
        except InvalidRequest as error:
            raise CallFailed("invalid_arguments", str(error)) from None

    async def _approved(self, tool: FunctionTool) -> None:
        question = f"May {tool.name} be called with {self.made.arguments}?"
        answer = await self._ask("approval", question, {"type": "boolean"}, tool.approval_timeout_s, tool.if_expired)
        if not answer.approve:
            raise CallFailed("denied", answer.reason or "this call was not approved")

    async def _ask(
        self, kind: Any, question: str, schema: dict[str, Any], timeout_s: float | None = None, if_expired: Any = "fail"
    ) -> Any:
        expires_at = None if timeout_s is None else now() + timeout_s
        ask = Ask(kind, question, schema, self.made.id, expires_at)
        block = self.new_block("ask", "assistant", call_id=self.made.id, parts=(Part(text=question),), ask=ask)
        return await self.asks.answer_to(block, if_expired)

    async def _run(self, tool: FunctionTool, arguments: dict[str, Any]) -> None:
        context = CallContext(self.run.agent, self.run.thread_id, self.run.id, self.made.id)
        work = work_of(context, tool.function, arguments)
        try:
            async with asyncio.timeout(tool.timeout_s) as limit:
                await self._read(tool, work, limit)
        except TimeoutError:
            raise CallFailed("timeout", f"{tool.name} took longer than {tool.timeout_s:g} s") from None
        finally:
            host().tell(Abandoned(work.id))

    async def _read(self, tool: FunctionTool, work: Work, limit: asyncio.Timeout) -> None:
        """Until it has returned."""
        index, answering, has_asked = 0, None, False
        try:
            while True:
                output = await self._next(NextOutput(work, index, tool.retry_safe and not has_asked), answering)
                index += 1
                value: Any = output.value
                match output.kind:
                    case "part":
                        self._result().begin_part(Part(**value))
                    case "status":
                        self._status(Part(text=value["text"]), value["name"])
                    case "memory":
                        has_asked = True
                        await host().begin(AnswerWork(work.id, await self._remembered(**value)))
                    case "ask":
                        has_asked = True
                        answering = asyncio.create_task(self._answer(work.id, value, limit))
                    case "returned":
                        for part in value:
                            self._result().begin_part(Part(**part))
                        return
                    case "raised":
                        raise CallFailed("tool_error", f"{value[0]}: {value[1]}")
        finally:
            if answering:
                answering.cancel()

    async def _next(self, effect: NextOutput, answering: asyncio.Task[None] | None) -> Any:
        """The next output; fails with an answer that failed."""
        coming = asyncio.ensure_future(host().begin(effect))
        try:
            waits = {coming} if answering is None else {coming, answering}
            while not coming.done():
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if answering in done:
                    await answering
            return coming.result()
        finally:
            coming.cancel()

    async def _answer(self, work_id: str, asked: dict[str, Any], limit: asyncio.Timeout) -> None:
        """The tool waits, and its time stands still."""
        loop = asyncio.get_running_loop()
        left_s = (limit.when() or loop.time()) - loop.time()
        limit.reschedule(None)
        answer = await self._ask(
            "question", asked["question"], asked["schema"], asked["timeout_s"], asked["if_expired"]
        )
        limit.reschedule(loop.time() + left_s)
        is_expired = answer.approve is False
        await host().begin(AnswerWork(work_id, None if is_expired else [answer.value]))

    async def _remembered(self, operation: str, key: str, value: Any) -> list[Any]:
        """Of an operation on the agent's memory: None and what it comes to, or a sentence on why it cannot be."""
        try:
            return [None, await remembered(self.task.agent, operation, key, value)]
        except GreenroomError as error:
            return [str(error), None]

    def _status(self, text: Part, name: str | None) -> None:
        self.new_block("status", "system", name=name, call_id=self.made.id, parts=(text,)).close()

    def _result(self) -> OpenBlock:
        if self.result is None:
            self.result = self.new_block("tool_result", "tool", name=self.made.name, call_id=self.made.id)
        return self.result
