"""What a function that is an agent does in a run, in the place of a model's steps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Protocol, TypeVar, get_args

from pydantic_core import to_jsonable_python
from typing_extensions import override

from api.agents.acting import Acting, EmitKind, acting
from api.agents.activity import Activity
from api.agents.agent import Agent, Handoff
from api.agents.asks import Expired
from api.agents.begun_tasks import BegunTasks, NotEnded
from api.agents.budget import too_many
from api.agents.call_context import CallContext
from api.agents.calls import Call
from api.agents.emitted import show
from api.agents.failures import Failed, raised
from api.agents.function_host import Charged, FunctionHost
from api.agents.memories import remembered
from api.agents.model_context import ModelContext
from api.agents.prompts import AgentFunction, Prompt
from api.agents.results import value_of
from api.agents.steps import Stepping
from api.agents.toolbox import Toolbox
from api.agents.tools import AnyTool, IfExpired
from api.agents.transcript import messages_of
from api.agents.writer import OpenBlock
from api.errors import InvalidRequest, reason_of
from api.inferlet import now
from api.inferlet.checks import checked_text
from api.inferlet.host import host, hosted_by
from api.threads.blocks import Ask, BlockError, Part
from api.tools import ToolCall
from api.turns import Message

Result = TypeVar("Result")
EMIT_KINDS = get_args(EmitKind)

REFUSED_S = 0.01
"""Seconds until what a function does after its end is refused: one that tries for ever keeps nobody from going on."""


class Performing(Stepping, Charged, Protocol):
    """The run, as its function needs it."""


class FunctionSteps(Acting):
    """See the module. The function runs in a context of its own, and what it calls in that of the run.

    Attributes:
        answer: the parts of its last message.
    """

    unfinished = ""

    def __init__(self, task: Performing, tools: Toolbox) -> None:
        self.answer: tuple[Part, ...] = (Part(),)
        run = task.run
        self.context = CallContext(run.agent, run.thread_id, run.id, "")
        self._task = task
        self._tools = tools
        self._blocks: list[OpenBlock] = []
        self._calls: set[asyncio.Task[Any]] = set()
        self._num_calls = self._num_ended = 0
        self._is_over = True

    async def take(self, model: ModelContext) -> None:
        """Until the function has ended, or another agent is to go on. It is run again for what the run is steered with.

        Raises:
            Failed: it has raised something.
        """
        task, agent = self._task, self._task.agent
        assert agent.function is not None, "the agent is one"
        texts = [task.prompt.text]
        while True:
            history = _history(model, is_begun=not texts)
            texts += task.steers
            while task.steers:
                model.read(Message("user", task.steers.popleft()))
            try:
                await self._run(agent.function, Prompt("\n\n".join(texts), history, agent.model))
            finally:
                for message in messages_of(one.block for one in self._blocks):
                    model.read(message)
                self._blocks.clear()
            if task.next_agent or not task.steers:
                return
            self._next_step()
            texts = []

    async def _run(self, function: AgentFunction, prompt: Prompt) -> None:
        """Until it has ended, with all that it has begun."""
        self._outer, inner, tasks = copy_context(), copy_context(), BegunTasks()
        self._activity = Activity(self._task.asks, self._outer)
        self._stopped = asyncio.get_running_loop().create_future()
        inner.run(hosted_by, FunctionHost(host(), self._task, self._activity))
        inner.run(acting.set, self)
        self._is_over = False
        running = tasks.begin(_awaited(function, prompt), inner)
        try:
            await asyncio.wait({running, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_over = True
            self._activity.close()
            await self._end(tasks)
        if self._task.next_agent is None:
            if running.cancelled():
                raise Failed("agent_error", "the agent's function has cancelled itself")
            running.result()

    async def _end(self, tasks: BegunTasks) -> None:
        """Nothing of it goes on after this, however often the run is cancelled meanwhile."""
        ending = asyncio.create_task(tasks.end())
        is_cancelled = False
        while waits := {one for one in (ending, *self._calls) if not one.done()}:
            try:
                await asyncio.wait(waits)
            except asyncio.CancelledError:
                is_cancelled = True
        ending.result()
        if self._stopped.done():
            self._stopped.result()
        if is_cancelled:
            raise asyncio.CancelledError

    @override
    async def call(self, tool: AnyTool | Agent | str, arguments: dict[str, Any]) -> Any:
        await self._check_goes_on()
        task, name = self._task, tool if isinstance(tool, str) else tool.name
        found = self._tools.get(task.agent, name, task.prompt.tools)
        if found is None or isinstance(found, Handoff) or not (isinstance(tool, str) or tool is found):
            raise InvalidRequest(f"agent {task.agent.name!r} has no tool {name!r:.200}")
        call = Call(task.run, found, self._made(name, arguments), self._activity, self._new_block, task)
        if not task.budget.call(name, found.max_calls):
            call.refuse(BlockError("not_executed", "the run may make no more calls"))
            await self._fail(too_many())
        task.status("tool", f"Calling {name}", call.made.id)
        task.count(tool_calls=1)
        try:
            await self._performed(call.perform())
        finally:
            self._num_ended += 1
        assert call.result is not None, "a call that was performed has one"
        block = call.result.block
        if block.state != "complete":
            raise raised(block.error or BlockError("cancelled", "the call was cancelled"))
        return value_of(block.parts)

    @override
    async def emit(self, kind: EmitKind, content: Any) -> None:
        await self._check_goes_on()
        if kind not in EMIT_KINDS:
            raise InvalidRequest(f"what an agent emits is of kind {' or '.join(EMIT_KINDS)}, not {kind!r:.100}")
        self._begin_step()
        block = self._new_block(kind, "assistant")
        self._activity.working(1)
        try:
            await show(block, content)
        except asyncio.CancelledError:
            block.close("cancelled")
            raise
        except Exception as error:
            block.close("failed", error=BlockError("agent_error", reason_of(error)))
            raise
        finally:
            self._activity.working(-1)
        parts = block.close().parts
        if kind == "message":
            self.answer = parts

    @override
    async def hand_over(self, agent: Agent) -> None:
        await self._check_goes_on()
        if not any(agent is one for one in self._task.agent.handoffs):
            raise InvalidRequest(f"agent {self._task.agent.name!r} does not hand over to {agent!r:.200}")
        way = Handoff(agent)
        if not self._task.budget.call(way.name, way.max_calls):
            await self._fail(too_many())
        self._task.hand_over(agent)
        self._stopped.set_result(None)
        await _for_ever()

    @override
    async def ask(self, question: str, schema: dict[str, Any], timeout_s: float | None, if_expired: IfExpired) -> Any:
        await self._check_goes_on()
        ask = Ask("question", question, schema, None, None if timeout_s is None else now() + timeout_s)
        block = self._task.new_block("ask", "assistant", parts=(Part(text=question),), ask=ask)
        return await self._performed(self._answer(block, if_expired))

    @override
    async def remember(self, operation: str, key: str, value: Any) -> Any:
        return await remembered(self._task.agent, operation, key, value)

    @override
    def status(self, text: str, name: str | None) -> None:
        self._check_is_on()
        if self._task.agent.tells(name or ""):
            self._task.new_block("status", "system", name=name, parts=(Part(text=checked_text(text)),)).close()

    async def _answer(self, block: OpenBlock, if_expired: IfExpired) -> Any:
        try:
            answer = await self._activity.answer_to(block, if_expired)
        except Expired:
            raise Failed("ask_expired", "nobody answered what the agent asked for") from None
        self._activity.end(has_failed=False)
        return None if answer.approve is False else [answer.value]

    async def _performed(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What it comes to in the run's own context, where a failure of the run ends the function."""
        asks = self._task.asks
        asks.active(1)
        self._activity.waiting(1)
        running = asyncio.get_running_loop().create_task(work, context=self._outer.copy())
        self._calls.add(running)
        running.add_done_callback(self._ended)
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            running.cancel()
            while not running.done():  # however often this is cancelled meanwhile
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({running})
            if running.cancelled():  # which counts as active
                asks.active(-1)
            raise
        finally:
            self._activity.waiting(-1)
        if isinstance(error := running.exception(), Failed):
            await self._fail(error)
        return running.result()

    def _ended(self, call: asyncio.Task[Any]) -> None:
        """The function does not go on where what it called does not end, whatever it catches."""
        self._calls.discard(call)
        error = None if call.cancelled() else call.exception()
        if error and not isinstance(error, Exception) and not self._stopped.done():
            self._stopped.set_exception(error)

    async def _fail(self, error: Failed) -> None:
        """The run ends with this, whatever the function catches."""
        self._task.fail(error)
        await _for_ever()

    def _made(self, name: str, arguments: dict[str, Any]) -> ToolCall:
        """A call, as a block."""
        try:
            text = json.dumps(to_jsonable_python(arguments), ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise InvalidRequest(f"the arguments of {name!r:.200} have no form in JSON: {reason_of(error)}") from None
        self._begin_step()
        call_id = f"call_{self._task.run.id.rpartition('.r')[2]}_{self._task.turn}_{self._num_calls}"
        self._num_calls += 1
        block = self._new_block("tool_call", "assistant", name=name, call_id=call_id)
        block.begin_part(Part("json", "application/json", checked_text(text)))
        block.close()
        return ToolCall(call_id, name, text)

    def _begin_step(self) -> None:
        """What comes now is said after the results of the calls before it, where those have ended."""
        if 0 < self._num_calls == self._num_ended:
            self._next_step()

    def _next_step(self) -> None:
        self._task.turn += 1
        self._num_calls = self._num_ended = 0

    def _new_block(self, kind: object, role: object, **fields: object) -> OpenBlock:
        block = self._task.new_block(kind, role, **fields)
        self._blocks.append(block)
        return block

    async def _check_goes_on(self) -> None:
        try:
            self._check_is_on()
        except asyncio.CancelledError:
            await asyncio.sleep(REFUSED_S)
            raise

    def _check_is_on(self) -> None:
        if self._is_over or self._stopped.done():
            raise asyncio.CancelledError("the run has ended")


async def _awaited(function: AgentFunction, prompt: Prompt) -> None:
    try:
        await function(prompt)
    except (asyncio.CancelledError, GeneratorExit, NotEnded):
        raise
    except BaseException as error:
        raise Failed("agent_error", f"{type(error).__name__}: {reason_of(error)}") from error


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def _history(model: ModelContext, is_begun: bool) -> tuple[Message, ...]:
    """What was said before the prompt; all of a run that ``is_begun``."""
    running = model.messages
    ended = (message for run in model.known_runs for message in run)
    return (*ended, *(running if is_begun or running[-1].role != "user" else running[:-1]))
