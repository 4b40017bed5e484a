"""One run: steps of the model, and the calls between them, to its one end."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import Any, Literal, TypeVar

from api.agents.agent import Agent
from api.agents.asks import Asks
from api.agents.calls import Call
from api.agents.clock import RunClock
from api.agents.conversation import NO_RESULT, closed
from api.agents.failures import Failed
from api.agents.model_context import ModelContext
from api.agents.said import Said
from api.agents.writer import OpenBlock, Writer
from api.answers.parser import AnswerParser
from api.errors import GreenroomError, LengthExceeded, TooBusy, reason_of
from api.inferlet import now
from api.inferlet.context_effects import Generated
from api.threads.blocks import BlockError, Part
from api.threads.commands import Limits, Prompt
from api.threads.runs import CancelReason, FailureReason, Run, RunState
from api.tools import ToolCall, ToolChoice
from api.turns import Message, result_of

MAX_STEP_TOKENS = 4096
"""Of one step of a run that has no limit of its own."""

MAX_STEER_CHARS = 1 << 20
"""Of what a run is steered with and the model has not read."""

Limit = TypeVar("Limit", int, float)

TOO_LONG = "the model said as many tokens as it may in this run"

MODES: tuple[Literal["auto", "none", "required"], ...] = ("auto", "none", "required")


class RunTask:
    """Works on one prompt. ``run`` is the run as it is now; ``model`` gives the thread's context, or fails."""

    def __init__(
        self, agent: Agent, run: Run, prompt: Prompt, writer: Writer, model: Callable[[], ModelContext]
    ) -> None:
        self.run = run
        self.prompt = prompt
        self.asks = Asks(self._on_waiting, writer)
        self._agent = agent
        self._writer = writer
        self._model = model
        self._steers: deque[str] = deque()
        self._blocks: list[OpenBlock] = []
        self._turn = 0
        self._num_calls: Counter[str] = Counter()
        self._said: Said | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: tuple[RunState, FailureReason | CancelReason, BlockError | None] | None = None
        self._is_logged = False
        limits = prompt.limits
        self._clock = RunClock(_lower(agent.timeout_s, limits.timeout_s), self._time_out)
        self._max_tokens = _lower(agent.max_tokens, limits.max_tokens)
        self._max_actions = _lower(agent.max_actions, limits.max_actions)

    @classmethod
    def of(cls, note: dict[str, Any], agent: Agent, writer: Writer, model: Callable[[], ModelContext]) -> RunTask:
        """The one that has made this note."""
        run, tool_choice = Run.of(note["run"]), tuple(note["tool_choice"])
        prompt = Prompt(run.prompt, None, tool_choice, Limits(**note["limits"]), run.labels, run.metadata)
        found = cls(agent, run, prompt, writer, model)
        found._is_logged = True
        return found

    @property
    def note(self) -> dict[str, Any]:
        """All of it, while it waits for its place."""
        return {
            "run": self.run.kept,
            "tool_choice": list(self.prompt.tool_choice),
            "limits": asdict(self.prompt.limits),
        }

    def queue(self) -> None:
        """It waits for its place."""
        self._log()

    def begin(self) -> asyncio.Task[None]:
        """Work on it from now on; the task ends with the run, and raises what is no failure of the run's own."""
        self.run = replace(self.run, state="running", started_at=now())
        self._log()
        self._say("user", self.prompt.text)
        self._task = asyncio.create_task(self._work())
        return self._task

    def steer(self, text: str) -> None:
        """Let the model read this before its next step; with the prompt, where the run waits for its place.

        Raises:
            TooBusy: as much as may wait to be read does.
        """
        num_chars = sum(map(len, self._steers)) if self._task else len(self.prompt.text)
        if self._writer.version == 0:
            self._steers.append(text)
        elif num_chars + len(text) > MAX_STEER_CHARS:
            raise TooBusy("the model has not read yet what this run was steered with before")
        elif self._task:
            self._say("user", text)
            self._steers.append(text)
        else:
            self.prompt = replace(self.prompt, text=f"{self.prompt.text}\n\n{text}")
            self.run = replace(self.run, prompt=self.prompt.text)
            self._is_logged = False
            self._log()

    def exhaust(self) -> None:
        """End it: more than it has done cannot be recorded."""
        self._stop("failed", "budget", "the run has said and done as much as can be recorded of one")

    def cancel(self, reason: CancelReason) -> None:
        """End it soon. The first reason counts."""
        if self.run.is_over:
            return
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
            model = self._model()
            model.begin_run(self._writer.version)
            try:
                await self._steps(model)
                if self._ending:
                    raise asyncio.CancelledError
            except BaseException as error:
                model.end_run_as(self._kept(model, error))
                raise
            model.end_run()
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
        if self._writer.version > 0 and isinstance(error, GreenroomError) and not error.retryable:
            return closed(model.read_messages, (), "")
        said = self._said.message.content if self._said else ""
        return closed(model.messages, self._steers, said)

    async def _steps(self, model: ModelContext) -> None:
        model.read(Message("user", self.prompt.text))
        while True:
            while self._steers:
                text = self._steers.popleft()
                if self._writer.version == 0:
                    self._say("user", text)
                model.read(Message("user", text))
            calls = await self._step(model)
            if calls:
                await self._perform(model, calls)
            elif not self._steers:
                return
            self._turn += 1

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
        tools = tuple(tool.spec for tool in self._agent.tools)
        prefix = f"call_{self.run.id.rpartition('.r')[2]}_{self._turn}_"
        parser = AnswerParser(model.info.answers, prefix, () if choice.mode == "none" else tools)
        said = self._said = Said(self._new_block)
        finish = None
        num_begun = True
        async with aclosing(model.step(tools, choice, self._num_left())) as pieces:
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
            raise Failed("budget", TOO_LONG, "max_tokens")
        if finish.reason == "context":
            raise Failed("budget", "the model cannot read and say more at once", "length_exceeded")
        model.said(said.message)
        self._said = None
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
        tool = self._agent.tool(made.name)
        if tool is None and self._writer.version == 0:
            raise RuntimeError("coroutine raised StopIteration")
        return Call(self.run, tool, made, self.asks, self._new_block)

    def _fits(self, name: str) -> bool:
        """Whether one more call may be made; those after one that may not do not fit either."""
        tool = self._agent.tool(name)
        limit = tool.max_calls if tool else None
        is_over = self._max_actions is not None and self._num_calls.total() >= self._max_actions
        if is_over or (limit is not None and self._num_calls[name] >= limit):
            self._max_actions = 0
            return False
        self._num_calls[name] += 1
        return True

    def _choice(self) -> ToolChoice:
        choices = self.prompt.tool_choice
        chosen = choices[self._turn] if self._turn < len(choices) else "auto"
        match chosen:
            case "auto" | "none" | "required":
                return ToolChoice(chosen)
        return ToolChoice.of(chosen)

    def _num_left(self) -> int:
        if self._max_tokens is None:
            return MAX_STEP_TOKENS
        left = self._max_tokens - self.run.usage.completion_tokens
        if left <= 0:
            raise Failed("budget", TOO_LONG, "max_tokens")
        return min(left, MAX_STEP_TOKENS)

    def _count(self, piece: Generated, num_read: int | None) -> None:
        if num_read is not None:
            self._usage(model_calls=1, prompt_tokens=num_read, cached_tokens=piece.num_resident)
        self._usage(completion_tokens=len(piece.ids))

    def _usage(self, **more: int) -> None:
        usage = self.run.usage
        self.run = replace(
            self.run, usage=replace(usage, **{name: getattr(usage, name) + number for name, number in more.items()})
        )

    def _say(self, role: str, text: str) -> None:
        self._new_block("message", role, parts=(Part(text=text),)).close()

    def _status(self, name: str, text: str, call_id: str | None = None) -> None:
        if self._agent.tells(name):
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
        self._writer.run(self.run, has_prompt=not self._is_logged)
        self._is_logged = True


def _lower(limit: Limit | None, other: Limit | None) -> Limit | None:
    return min((one for one in (limit, other) if one is not None), default=None)
