"""One run: steps of the model, and the calls between them, to its one end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import Any, Literal

from api.agents.agent import Agent
from api.agents.asks import Asks
from api.agents.budget import Budget, lower, too_long
from api.agents.calls import Call
from api.agents.clock import RunClock
from api.agents.conversation import NO_RESULT, closed
from api.agents.failures import CallFailed, Failed
from api.agents.model_context import ModelContext, once_known
from api.agents.said import Said
from api.agents.toolbox import Toolbox
from api.agents.writer import OpenBlock, Writer
from api.answers.parsers import parser_of
from api.errors import GreenroomError, LengthExceeded, TooBusy, reason_of
from api.inferlet import now
from api.inferlet.context_effects import Generated
from api.threads.blocks import BlockError, Part
from api.threads.commands import Limits, Prompt
from api.threads.runs import CancelReason, FailureReason, Run, RunState
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Message, result_of

MAX_STEER_CHARS = 1 << 20
"""Of what a run is steered with and the model has not read."""

MAX_LABELS = 128
"""Of one run, with those of what it is steered with: they are in all that is told of it."""

MODES: tuple[Literal["auto", "none", "required"], ...] = ("auto", "none", "required")


MAX_DEPTH = 8
"""Of runs below each other."""


class RunTask:
    """Works on one prompt.

    Attributes:
        run: as it is now.
        agent: that works on it.

    Args:
        tools: what the agents of the thread may call.
        model: gives the thread's context, or fails.
        note: is given each run that this one begins.
        parent: the run that has begun this one.
    """

    def __init__(
        self,
        agent: Agent,
        tools: Toolbox,
        run: Run,
        prompt: Prompt,
        writer: Writer,
        model: Callable[[], ModelContext],
        note: Callable[[RunTask], object],
        parent: RunTask | None = None,
    ) -> None:
        self.run = run
        self.agent = agent
        self.prompt = prompt
        self.asks = Asks(self._on_waiting)
        self._tools = tools
        self._writer = writer
        self._model = model
        self._note = note
        self._above: tuple[RunTask, ...] = (parent, *parent._above) if parent else ()
        self._num_children = 0
        self._next: Agent | None = None
        self._answer = ""
        self._steers: deque[str] = deque()
        self._blocks: list[OpenBlock] = []
        self._turn = 0
        self._said: Said | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: tuple[RunState, FailureReason | CancelReason, BlockError | None] | None = None
        self._is_logged = False
        self._limit()

    def _limit(self) -> None:
        limits = self.prompt.limits
        self._clock = RunClock(lower(self.agent.timeout_s, limits.timeout_s), self._time_out)
        self._budget: Budget = Budget(self.agent, limits, self._above[0]._budget if self._above else None)

    @classmethod
    def of(
        cls,
        kept: dict[str, Any],
        agent: Agent,
        tools: Toolbox,
        writer: Writer,
        model: Callable[[], ModelContext],
        note: Callable[[RunTask], object],
    ) -> RunTask:
        """The one whose ``kept`` this is."""
        run, tool_choice = Run.of(kept["run"]), tuple(kept["tool_choice"])
        history = tuple((role, text) for role, text in kept.get("history", ()))
        of_caller = tuple(Tool(**one) for one in kept.get("tools", ()))
        limits = Limits(**kept["limits"])
        prompt = Prompt(run.prompt, None, tool_choice, limits, run.labels, run.metadata, history, of_caller)
        found = cls(agent, tools, run, prompt, writer, model, note)
        found._is_logged = True
        return found

    @property
    def kept(self) -> dict[str, Any]:
        """All of it, while it waits for its place."""
        return {"run": self.run.kept, **self._asked}

    @property
    def _asked(self) -> dict[str, Any]:
        return {
            "tool_choice": list(self.prompt.tool_choice),
            "limits": asdict(self.prompt.limits),
            "history": list(map(list, self.prompt.history)),
            "tools": list(map(asdict, self.prompt.tools)),
        }

    def queue(self) -> None:
        """It waits for its place."""
        self._log()

    def begin(self, agent: Agent) -> asyncio.Task[None]:
        """Let this agent work on it; the task ends with the run, and raises what is no failure of the run's own."""
        if agent is not self.agent:
            self.agent = agent
            self._limit()
        self.run = replace(self.run, agent=agent.name, state="running", started_at=now())
        self._log()
        self._say("user", self.prompt.text)
        self._task = asyncio.create_task(self._work())
        return self._task

    def steer(self, text: str, labels: Mapping[str, str]) -> None:
        """Let the model read this before its next step; with the prompt, where the run waits for its place.

        Raises:
            TooBusy: as much as may wait to be read does, or the run would have too many labels.
        """
        num_chars = sum(map(len, self._steers)) if self._task else len(self.prompt.text)
        if num_chars + len(text) > MAX_STEER_CHARS:
            raise TooBusy("the model has not read yet what this run was steered with before")
        self._label(labels)
        if self._task:
            self._say("user", text)
            self._steers.append(text)
        else:
            self.prompt = replace(self.prompt, text=f"{self.prompt.text}\n\n{text}")
            self.run = replace(self.run, prompt=self.prompt.text)
            self._is_logged = False
            self._log()

    def _label(self, labels: Mapping[str, str]) -> None:
        """Have the run found by these too."""
        all_labels = {**self.run.labels, **labels}
        if all_labels == self.run.labels:
            return
        if len(all_labels) > MAX_LABELS:
            raise TooBusy(f"a run may have {MAX_LABELS} labels, with those of what it is steered with")
        self.run = replace(self.run, labels=all_labels)
        self._log()

    def exhaust(self) -> None:
        """End it: more than it has done cannot be recorded."""
        self._stop("failed", "budget", "the run has said and done as much as can be recorded of one")

    def cancel(self, reason: CancelReason) -> None:
        """End it soon. The first reason counts."""
        if self.run.is_over:
            return
        if reason == "rollback" and self.run.parent_run_id:  # what is below a run goes with it alone
            reason = "user"
        if self._task is None:
            self._end("cancelled", reason)
        else:
            self._stop("cancelled", reason)

    def _time_out(self) -> None:
        self._stop("failed", "timeout", "the run took longer than it may")

    def _stop(self, state: RunState, reason: FailureReason | CancelReason, sentence: str = "") -> None:
        if self._ending is None and self._task:
            self._ending = state, reason, BlockError(reason, sentence) if sentence else None
            if self.run.state == "waiting":  # for nobody any longer
                self.run = replace(self.run, state="running")
                self._log()
            self._task.cancel()

    async def _work(self) -> None:
        self._clock.go()
        try:
            model = await once_known(self._model)
            model.begin_run()
            try:
                await self._steps(model)
                if self._ending:
                    raise asyncio.CancelledError
            except BaseException as error:
                model.end_run_as(self._kept(model, error))
                raise
            else:
                model.end_run()
            finally:
                if self.run.parent_run_id:
                    model.close()
            self._end("succeeded")
        except Failed as error:
            self._end("failed", error.reason, error.error)
        except asyncio.CancelledError:
            if self._ending is None:
                raise
            self._end(*self._ending)
        except GreenroomError as error:
            self._end("failed", "model_error", BlockError(error.code, str(error)))
        except Exception as error:
            self._end("failed", "agent_error", BlockError("agent_error", f"{type(error).__name__}: {reason_of(error)}"))

    def _kept(self, model: ModelContext, error: BaseException) -> Sequence[Message]:
        """What the model will know of a run that did not succeed: nothing that it could not read."""
        if self._ending and self._ending[1] == "rollback":
            return ()
        if isinstance(error, GreenroomError) and not error.retryable:
            return closed(model.read_messages, (), "")
        said = self._said.message.content if self._said else ""
        return closed(model.messages, self._steers, said)

    async def _steps(self, model: ModelContext) -> None:
        for role, said in self.prompt.history:
            model.read(Message(role, said))
        model.read(Message("user", self.prompt.text))
        while True:
            while self._steers:
                model.read(Message("user", self._steers.popleft()))
            await self._complete_tools()
            calls = await self._step(model)
            if calls:
                await self._perform(model, calls)
            elif not self._steers:
                return
            if self._next:
                await self._hand_over(model, self._next)
            self._turn += 1

    async def _complete_tools(self) -> None:
        """Have those servers of the agent tell their tools that have not yet."""
        for server in self._tools.unlisted(self.agent):
            self._status("tool", f"Asking {server.name} for its tools")
        await self._tools.complete(self.agent, self.run)

    async def _hand_over(self, model: ModelContext, agent: Agent) -> None:
        """Another agent goes on, with what is left within its limits too."""
        self._new_block("handoff", "assistant", name=agent.name).close()
        self._clock.narrow(agent.timeout_s)
        self._budget.narrow(agent)
        self.agent, self._next = agent, None
        await once_known(lambda: model.hand_over(agent.model, agent.system))
        self.run = replace(self.run, agent=agent.name)
        self._log()

    async def _step(self, model: ModelContext) -> list[ToolCall]:
        """The calls that the model makes in its next step."""
        self._status("model", "Thinking")
        while True:
            try:
                return await self._said_by(model)
            except LengthExceeded:
                if not model.make_room():
                    raise
                self._status("window", "Older messages were left out: the model cannot read more")

    async def _said_by(self, model: ModelContext) -> list[ToolCall]:
        choice = self._choice()
        tools = self._tools.specs(self.agent, self.prompt.tools)
        prefix = f"call_{self.run.id.rpartition('.r')[2]}_{self._turn}_"
        parser = parser_of(model.info.answers, prefix, () if choice.mode == "none" else tools)
        said = self._said = Said(self._new_block, is_json=self.agent.output is not None)
        finish = None
        num_begun = True
        async with aclosing(model.step(tools, choice, self._budget.num_left(), self.agent.constraint)) as pieces:
            async for piece, num_read in pieces:
                self._count(piece, num_read if num_begun else None)
                num_begun = False
                for token in zip(piece.ids, piece.pieces, strict=True):
                    for event in parser.token(*token):
                        said.take(event)
                finish = piece.finish
        assert finish is not None
        for event in parser.finish(finish.tail):
            said.take(event)
        said.end()
        if finish.reason == "length":
            raise too_long()
        if finish.reason == "context":
            raise Failed("budget", "the model cannot read and say more at once", "length_exceeded")
        model.said(said.message)
        self._said = None
        self._answer = said.message.content
        if not said.calls:
            self.agent.check_output(self._answer)
        return said.calls

    async def _perform(self, model: ModelContext, calls: Sequence[ToolCall]) -> None:
        """Those that fit together; their results stand in the order of the calls."""
        performing = [self._call(made) for made in calls]
        fitting = [call for call in performing if self._fits(call.made.name)]
        for call in fitting:
            self._status("tool", f"Calling {call.made.name}", call.made.id)
        self._usage(tool_calls=len(fitting))
        self.asks.active(len(fitting) - 1)
        told: list[asyncio.Task[str]] = []
        try:
            async with asyncio.TaskGroup() as group:
                told += [group.create_task(call.perform()) for call in fitting]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self.asks.active(1)
            for made, task in zip_longest(calls, told):
                has_result = task and not task.cancelled() and not task.exception()
                text = task.result() if has_result else NO_RESULT
                model.read(result_of(made, text))
        if len(fitting) < len(performing):
            for call in performing[len(fitting) :]:
                call.refuse(BlockError("not_executed", "the run may make no more calls"))
            raise Failed("budget", "the run made as many calls as it may", "max_actions")

    def _call(self, made: ToolCall) -> Call:
        tool = self._tools.get(self.agent, made.name, self.prompt.tools)
        return Call(self.run, tool, made, self.asks, self._new_block, self)

    async def delegate(self, agent: Agent, text: str) -> str:
        """The answer of an agent to this, in a run below this one.

        Raises:
            CallFailed: that run did not succeed.
        """
        if self._budget.depth >= MAX_DEPTH:
            raise CallFailed("too_deep", f"no more than {MAX_DEPTH} runs can be below each other")
        self._num_children += 1
        mine = self.run
        run_id = f"{mine.id}c{self._num_children}"
        run = Run(run_id, agent.name, mine.thread_id, mine.context_id, text, now(), parent_run_id=mine.id)
        child = RunTask(
            agent,
            self._tools,
            run,
            Prompt(text),
            self._writer,
            lambda: ModelContext(agent.model, agent.system),
            self._note,
            self,
        )
        self._note(child)
        self.asks.add(child.asks)
        working = child.begin(agent)
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError:
            child.cancel("parent")
            await asyncio.wait({working})
            raise
        working.result()
        if child.run.state != "succeeded":
            error = child.run.error
            why = f": {error.message}" if error else ""
            raise CallFailed(child.run.reason or child.run.state, f"agent {agent.name}: {child.run.state}{why}")
        return child._answer

    def hand_over(self, agent: Agent) -> None:
        """Let another agent go on after this step.

        Raises:
            CallFailed: another one does already.
        """
        if self._next:
            raise CallFailed("handed_over", f"{self._next.name} goes on already")
        self._next = agent

    def _fits(self, name: str) -> bool:
        tool = self._tools.get(self.agent, name, self.prompt.tools)
        return self._budget.call(name, tool.max_calls if tool else None)

    def _choice(self) -> ToolChoice:
        choices = self.prompt.tool_choice
        chosen = choices[self._turn] if self._turn < len(choices) else "auto"
        match chosen:
            case "auto" | "none" | "required":
                return ToolChoice(chosen)
        return ToolChoice.of(chosen)

    def _count(self, piece: Generated, num_read: int | None) -> None:
        if num_read is not None:
            self._usage(model_calls=1, prompt_tokens=num_read, cached_tokens=piece.num_resident)
        may_say = self._budget.say(len(piece.ids))
        self._usage(completion_tokens=len(piece.ids))
        if not may_say:
            raise too_long()

    def _usage(self, **more: int) -> None:
        self.run = replace(self.run, usage=self.run.usage.plus(more))
        for above in self._above:
            above.run = replace(above.run, usage=above.run.usage.plus_of_children(more))

    def _say(self, role: str, text: str) -> None:
        self._new_block("message", role, parts=(Part(text=text),)).close()

    def _status(self, name: str, text: str, call_id: str | None = None) -> None:
        if self.agent.tells(name):
            self._new_block("status", "system", name=name, call_id=call_id, parts=(Part(text=text),)).close()

    def _new_block(self, kind: object, role: object, **fields: object) -> OpenBlock:
        block = self._writer.open(self.run, self._turn, kind, role, **fields)  # type: ignore[arg-type]
        self._blocks = [one for one in self._blocks if one.is_open]
        self._blocks.append(block)
        return block

    def _on_waiting(self, is_waiting: bool) -> None:
        if is_waiting:
            self._clock.stand()
        else:
            self._clock.go()
        for parent in self._above[:1]:
            parent.asks.waits_below(is_waiting)
        if self._ending is None:
            self.run = replace(self.run, state="waiting" if is_waiting else "running")
            self._log()

    def _end(
        self, state: RunState, reason: FailureReason | CancelReason | None = None, error: BlockError | None = None
    ) -> None:
        self._clock.stand()
        for block in self._blocks:
            block.close("failed" if state == "failed" else "cancelled", error=error)
        self.run = replace(self.run, state=state, reason=reason, error=error, ended_at=now())
        self._log()

    def _log(self) -> None:
        is_queued = self.run.state == "queued"
        self._writer.run(self.run, has_prompt=not self._is_logged, asked=self._asked if is_queued else None)
        self._is_logged = True
