"""One run, from its place in the queue to its one end; the agents that work on it do so one after another."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from api.agents.agent import Agent
from api.agents.asks import Asks
from api.agents.budget import Budget, lower
from api.agents.clock import RunClock
from api.agents.conversation import closed
from api.agents.failures import CallFailed, Failed
from api.agents.function_steps import FunctionSteps
from api.agents.model_context import ModelContext, once_known
from api.agents.steps import Steps
from api.agents.toolbox import Toolbox
from api.agents.writer import OpenBlock, Writer
from api.errors import GreenroomError, TooBusy, reason_of
from api.inferlet import now
from api.threads.blocks import BlockError, Part
from api.threads.commands import Limits, Prompt, sent
from api.threads.runs import CancelReason, FailureReason, Run, RunState
from api.tools import Tool
from api.turns import Message

MAX_STEER_CHARS = 1 << 20
"""Of what a run is steered with and the model has not read."""

MAX_LABELS = 128
"""Of one run, with those of what it is steered with: they are in all that is told of it."""


MAX_DEPTH = 8
"""Of runs below each other."""


def num_chars_of(prompt: Prompt) -> int:
    """Of all that is kept of its run while that waits for its place, before a death and after it."""
    return len(json.dumps(sent(replace(prompt, if_busy=None, after=None, answering=None)), ensure_ascii=False))


class RunTask:
    """Works on one prompt.

    Attributes:
        run: as it is now.
        agent: that works on it; ``next_agent`` goes on after its step.
        turn: the number of the step.
        steers: texts that the model has not read.
        asks, budget: see there.

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
        self.turn = 0
        self.steers: deque[str] = deque()
        self.next_agent: Agent | None = None
        self.asks = Asks(self._on_waiting)
        self._tools = tools
        self._writer = writer
        self._model = model
        self._note = note
        self._above: tuple[RunTask, ...] = (parent, *parent._above) if parent else ()
        self._num_children = 0
        self._blocks: list[OpenBlock] = []
        self._task: asyncio.Task[None] | None = None
        self._ending: tuple[RunState, FailureReason | CancelReason, BlockError | None] | None = None
        self._logged: Run | None = None
        self._num_chars: int | None = None
        self._limit()

    def _limit(self) -> None:
        limits = self.prompt.limits
        self._clock = RunClock(lower(self.agent.timeout_s, limits.timeout_s), self._time_out)
        self.budget: Budget = Budget(self.agent, limits, self._above[0].budget if self._above else None)

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
        of_caller = tuple(Tool(**one) for one in kept.get("tools", ()))
        limits = Limits(**kept["limits"])
        prompt = Prompt(run.prompt, None, tool_choice, limits, run.labels, run.metadata, run.history, of_caller)
        found = cls(agent, tools, run, prompt, writer, model, note)
        found._logged = run
        return found

    @property
    def num_chars(self) -> int:
        """Of all that is kept while it waits for its place."""
        if self._num_chars is None:
            self._num_chars = num_chars_of(self.prompt)
        return self._num_chars

    @property
    def kept(self) -> dict[str, Any]:
        """All of it, while it waits for its place."""
        return {"run": self.run.kept, **self._asked}

    @property
    def _asked(self) -> dict[str, Any]:
        return {
            "tool_choice": list(self.prompt.tool_choice),
            "limits": asdict(self.prompt.limits),
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
        self._steps = self._steps_of()
        self._log()
        self._say("user", self.prompt.text)
        self._task = asyncio.create_task(self._work())
        return self._task

    def steer(self, text: str, labels: Mapping[str, str]) -> None:
        """Let the model read this before its next step; with the prompt, where the run waits for its place.

        Raises:
            TooBusy: as much as may wait to be read does, or the run would have too many labels.
        """
        num_chars = sum(map(len, self.steers)) if self._task else len(self.prompt.text)
        if num_chars + len(text) > MAX_STEER_CHARS:
            raise TooBusy("the model has not read yet what this run was steered with before")
        self._label(labels)
        if self._task:
            self._say("user", text)
            self.steers.append(text)
        else:
            self.prompt = replace(self.prompt, text=f"{self.prompt.text}\n\n{text}")
            self._num_chars = None
            self.run = replace(self.run, prompt=self.prompt.text)
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
        self.fail(Failed("budget", "the run has said and done as much as can be recorded of one"))

    def fail(self, error: Failed) -> None:
        """End it with this soon, if it is not about to end."""
        self._stop("failed", error.reason, error.error)

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
        self.fail(Failed("timeout", "the run took longer than it may"))

    def _stop(self, state: RunState, reason: FailureReason | CancelReason, error: BlockError | None = None) -> None:
        if self._ending is None and self._task:
            self._ending = state, reason, error
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
                await self._parts(model)
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
        return closed(model.messages, self.steers, self._steps.unfinished)

    async def _parts(self, model: ModelContext) -> None:
        """What one agent after another does."""
        for role, said in self.prompt.history:
            model.read(Message(role, said))
        model.read(Message("user", self.prompt.text))
        while True:
            await self._complete_tools()
            await self._steps.take(model)
            if self.next_agent is None:
                return
            await self._hand_over(model, self.next_agent)
            self._steps = self._steps_of()
            self.turn += 1

    def _steps_of(self) -> Steps | FunctionSteps:
        """What the agent does."""
        return (FunctionSteps if self.agent.function else Steps)(self, self._tools)

    async def _complete_tools(self) -> None:
        """Have those servers of the agent tell their tools that have not yet."""
        for server in self._tools.unlisted(self.agent):
            self.status("tool", f"Asking {server.name} for its tools")
        await self._tools.complete(self.agent, self.run)

    async def _hand_over(self, model: ModelContext, agent: Agent) -> None:
        """Another agent goes on, with what is left within its limits too."""
        self.new_block("handoff", "assistant", name=agent.name).close()
        self._clock.narrow(agent.timeout_s)
        self.budget.narrow(agent)
        self.agent, self.next_agent = agent, None
        await once_known(lambda: model.hand_over(agent.model, agent.system))
        self.run = replace(self.run, agent=agent.name)
        self._log()

    async def delegate(self, agent: Agent, text: str) -> tuple[Part, ...]:
        """The answer of an agent to this, in a run below this one.

        Raises:
            CallFailed: that run did not succeed.
        """
        if self.budget.depth >= MAX_DEPTH:
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
            working.result()  # nothing, but where the child does not end
            raise
        working.result()
        if child.run.state != "succeeded":
            error = child.run.error
            why = f": {error.message}" if error else ""
            raise CallFailed(child.run.reason or child.run.state, f"agent {agent.name}: {child.run.state}{why}")
        return child._steps.answer

    def hand_over(self, agent: Agent) -> None:
        """Let another agent go on after this step.

        Raises:
            CallFailed: another one does already.
        """
        if self.next_agent:
            raise CallFailed("handed_over", f"{self.next_agent.name} goes on already")
        self.next_agent = agent

    def count(self, **more: int) -> None:
        """So much more has been used, here and by the runs above."""
        self.run = replace(self.run, usage=self.run.usage.plus(more))
        for above in self._above:
            above.run = replace(above.run, usage=above.run.usage.plus_of_children(more))

    def _say(self, role: str, text: str) -> None:
        self.new_block("message", role, parts=(Part(text=text),)).close()

    def status(self, name: str, text: str, call_id: str | None = None) -> None:
        """Tell those who watch, if the agent tells of this."""
        if self.agent.tells(name):
            self.new_block("status", "system", name=name, call_id=call_id, parts=(Part(text=text),)).close()

    def new_block(self, kind: object, role: object, **fields: object) -> OpenBlock:
        """A block of this step, which ends with the run at the latest; see ``Writer.open``."""
        block = self._writer.open(self.run, self.turn, kind, role, **fields)  # type: ignore[arg-type]
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
        asked = None
        if self.run.state == "queued":
            asked = {} if self._logged else self._asked
        self._writer.run(self.run, self._logged, asked)
        self._logged = self.run
