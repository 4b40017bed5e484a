"""What a model does in a run: steps, and the calls between them, until it answers or another agent goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from itertools import zip_longest
from typing import Protocol

from api.agents.agent import Agent
from api.agents.asks import Asks
from api.agents.budget import Budget, too_long, too_many
from api.agents.calls import Call, Delegating
from api.agents.conversation import NO_RESULT
from api.agents.failures import Failed
from api.agents.model_context import ModelContext
from api.agents.said import Said
from api.agents.toolbox import Toolbox
from api.agents.writer import OpenBlock
from api.answers.parsers import parser_of
from api.errors import LengthExceeded
from api.inferlet.context_effects import Generated
from api.threads.blocks import BlockError, Part
from api.threads.commands import Prompt
from api.threads.runs import Run
from api.tools import ToolCall, ToolChoice
from api.turns import Message, result_of


class Stepping(Delegating, Protocol):
    """The run, as its steps need it.

    Attributes:
        steers: texts that the model is to read before its next step.
        turn: the number of the step.
        next_agent: that goes on after this step.
    """

    run: Run
    prompt: Prompt
    asks: Asks
    budget: Budget
    steers: deque[str]
    turn: int
    next_agent: Agent | None

    def new_block(self, kind: object, role: object, **fields: object) -> OpenBlock:
        """A block of this step."""
        ...

    def status(self, name: str, text: str, call_id: str | None = None) -> None:
        """Tell those who watch."""
        ...

    def count(self, **more: int) -> None:
        """So much more has been used."""
        ...


class Steps:
    """See the module.

    Attributes:
        answer: what the model has said last.
    """

    def __init__(self, task: Stepping, tools: Toolbox) -> None:
        self.answer: tuple[Part, ...] = (Part(),)
        self._said: Said | None = None
        self._task = task
        self._tools = tools

    async def take(self, model: ModelContext) -> None:
        """Until the model has answered, or hands over."""
        task = self._task
        while True:
            while task.steers:
                model.read(Message("user", task.steers.popleft()))
            calls = await self._step(model)
            if calls:
                await self._perform(model, calls)
            elif not task.steers:
                return
            if task.next_agent:
                return
            task.turn += 1

    @property
    def unfinished(self) -> str:
        """What the model has said of a step that has not ended."""
        return self._said.message.content if self._said else ""

    async def _step(self, model: ModelContext) -> list[ToolCall]:
        """The calls that the model makes in its next step."""
        self._task.status("model", "Thinking")
        while True:
            try:
                return await self._said_by(model)
            except LengthExceeded:
                if not model.make_room():
                    raise
                self._task.status("window", "Older messages were left out: the model cannot read more")

    async def _said_by(self, model: ModelContext) -> list[ToolCall]:
        choice = self._choice()
        tools = self._tools.specs(self._task.agent, self._task.prompt.tools)
        prefix = f"call_{self._task.run.id.rpartition('.r')[2]}_{self._task.turn}_"
        parser = parser_of(model.info.answers, prefix, () if choice.mode == "none" else tools)
        said = self._said = Said(self._task.new_block, is_json=self._task.agent.output is not None)
        finish = None
        is_first = True
        async with aclosing(
            model.step(tools, choice, self._task.budget.num_left(), self._task.agent.constraint)
        ) as pieces:
            async for piece, num_read in pieces:
                self._count(piece, num_read if is_first else None)
                is_first = False
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
        text, is_json = said.message.content, self._task.agent.output is not None
        self.answer = (Part("json", "application/json", text) if is_json else Part(text=text),)
        if not said.calls:
            self._task.agent.check_output(text)
        return said.calls

    async def _perform(self, model: ModelContext, calls: Sequence[ToolCall]) -> None:
        """Those that fit together; their results stand in the order of the calls."""
        performing = [self._call(made) for made in calls]
        fitting = [call for call in performing if self._fits(call.made.name)]
        for call in fitting:
            self._task.status("tool", f"Calling {call.made.name}", call.made.id)
        self._task.count(tool_calls=len(fitting))
        self._task.asks.active(len(fitting) - 1)
        told: list[asyncio.Task[str]] = []
        try:
            async with asyncio.TaskGroup() as group:
                told += [group.create_task(call.perform()) for call in fitting]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._task.asks.active(1)
            for made, task in zip_longest(calls, told):
                has_result = task and not task.cancelled() and not task.exception()
                text = task.result() if has_result else NO_RESULT
                model.read(result_of(made, text))
        if len(fitting) < len(performing):
            for call in performing[len(fitting) :]:
                call.refuse(BlockError("not_executed", "the run may make no more calls"))
            raise too_many()

    def _call(self, made: ToolCall) -> Call:
        tool = self._tools.get(self._task.agent, made.name, self._task.prompt.tools)
        return Call(self._task.run, tool, made, self._task.asks, self._task.new_block, self._task)

    def _fits(self, name: str) -> bool:
        tool = self._tools.get(self._task.agent, name, self._task.prompt.tools)
        return self._task.budget.call(name, tool.max_calls if tool else None)

    def _choice(self) -> ToolChoice:
        choices = self._task.prompt.tool_choice
        chosen = choices[self._task.turn] if self._task.turn < len(choices) else "auto"
        match chosen:
            case "auto" | "none" | "required":
                return ToolChoice(chosen)
        return ToolChoice.of(chosen)

    def _count(self, piece: Generated, num_read: int | None) -> None:
        if num_read is not None:
            self._task.count(model_calls=1, prompt_tokens=num_read, cached_tokens=piece.num_resident)
        may_say = self._task.budget.say(len(piece.ids))
        self._task.count(completion_tokens=len(piece.ids))
        if not may_say:
            raise too_long()
