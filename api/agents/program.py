"""The program of every thread: takes commands, and works on one run at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

from api.agents.agent import Agent
from api.agents.model_context import ModelContext
from api.agents.run import MODES, RunTask
from api.agents.writer import Writer
from api.errors import GreenroomError, InvalidRequest, RunEnded, RunNotFound, ThreadBusy, TooBusy, reason_of
from api.inferlet import Args, instance_id, now
from api.inferlet.effects import Receive
from api.inferlet.host import host
from api.inferlet.program import Program
from api.logs import event_logger
from api.threads.commands import Answers, Cancel, Command, Prompt, Steer, received
from api.threads.runs import Run

log = event_logger("greenroom.agent")

RUNS_PER_CHECKPOINT, TOKENS_PER_RUN = 8, 1000
"""A checkpoint comes after so many runs, and one more for each so many tokens of the model's context, which it holds.
A later life runs again what came after the last one.
"""

MAX_QUEUED = 100
"""Runs of one thread that wait for their place."""


def program_of(agent: Agent) -> Program:
    """What the actor of one of its threads runs; its one argument is the ``context_id``."""

    async def main(args: Args) -> None:
        await _Thread(agent, instance_id(), args.argv[0]).take_commands()

    return Program(main)


class _Thread:
    def __init__(self, agent: Agent, thread_id: str, context_id: str) -> None:
        self._agent = agent
        self._ids = thread_id, context_id
        self._writer = Writer()
        self._runs: dict[str, RunTask] = {}
        self._queue: deque[RunTask] = deque()
        self._current: RunTask | None = None
        self._working: asyncio.Task[None] | None = None
        self._known_model: ModelContext | None = None

    async def take_commands(self) -> None:
        """For ever."""
        self._restore(host().begin_from_checkpoint())
        receiving = asyncio.ensure_future(host().begin(Receive(None)))
        while True:
            working = {self._working} if self._working else set()
            done, _ = await asyncio.wait({receiving, *working}, return_when=asyncio.FIRST_COMPLETED)
            if self._working in done:
                self._working.result()
                self._working = None
                self._begin_next()
            if receiving in done:
                message = receiving.result()
                receiving = asyncio.ensure_future(host().begin(Receive(None)))
                assert message is not None
                self._take(message.position, message.value)
            if self._is_due and not receiving.done():
                receiving.cancel()
                await asyncio.wait({receiving})
                host().checkpoint(self._state())
                receiving = asyncio.ensure_future(host().begin(Receive(None)))

    @property
    def _is_due(self) -> bool:
        """Enough has happened since the last checkpoint, which takes as much as the model's context."""
        num_tokens = self._known_model.num_tokens if self._known_model else 0
        return self._current is None and len(self._runs) >= RUNS_PER_CHECKPOINT + num_tokens // TOKENS_PER_RUN

    def _state(self) -> dict[str, Any]:
        """Between two runs. Those that have ended are known to the actor."""
        self._runs.clear()
        return {"blocks": self._writer.num_blocks, "model": self._known_model.state if self._known_model else None}

    def _restore(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            self._writer.num_blocks = state["blocks"]
            self._known_model = ModelContext.of(state["model"]) if state["model"] else None

    def _take(self, position: int, message: object) -> None:
        try:
            command = received(message)
        except ValueError:
            return self._writer.outcome(position, None, InvalidRequest("a thread takes commands only"))
        try:
            run_id = self._obey(position, command)
        except GreenroomError as error:
            return self._writer.outcome(position, None, error)
        except Exception as error:
            log.exception("a command failed", thread_id=self._ids[0], position=position)
            failure = GreenroomError(f"the agent's program failed: {type(error).__name__}: {reason_of(error)}")
            return self._writer.outcome(position, None, failure)
        self._writer.outcome(position, run_id)

    def _obey(self, position: int, command: Command) -> str:
        match command:
            case Prompt():
                return self._prompt(position, command)
            case Steer(run_id, text):
                run = self._run(run_id)
                self._check_goes_on(run)
                run.steer(text)
            case Cancel(run_id, mode):
                run = self._run(run_id)
                run.cancel("rollback" if mode == "rollback" else "user")
                self._queue = deque(one for one in self._queue if not one.run.is_over)
            case Answers(run_id, answers):
                run = self._run(run_id)
                self._check_goes_on(run)
                run.asks.take(answers)
        return run.run.id

    def _prompt(self, position: int, prompt: Prompt) -> str:
        for choice in prompt.tool_choice:
            if choice not in (*MODES, *(tool.name for tool in self._agent.tools)):
                raise InvalidRequest(f"tool_choice: agent {self._agent.name!r} has no tool {choice!r:.140}")
        if "required" in prompt.tool_choice and not self._agent.tools:
            raise InvalidRequest(f"tool_choice: agent {self._agent.name!r} has no tools")
        busy = None if self._current is None or self._current.run.is_over else self._current
        policy = prompt.if_busy or self._agent.if_busy
        if busy and policy == "reject":
            raise ThreadBusy(f"run {busy.run.id} is there already")
        if busy and policy == "steer":
            busy.steer(prompt.text)
            return busy.run.id
        if len(self._queue) >= MAX_QUEUED:
            raise TooBusy(f"{MAX_QUEUED} runs of this thread wait already")
        if busy and policy != "queue":
            for one in (*self._queue, busy):
                one.cancel("rollback" if policy == "rollback" else "interrupted")
            self._queue.clear()
        return self._accept(position, prompt)

    def _accept(self, position: int, prompt: Prompt) -> str:
        thread_id, context_id = self._ids
        run_id, agent = f"{thread_id}.r{position}", self._agent
        run = Run(run_id, agent.name, thread_id, context_id, prompt.text, now(), labels=prompt.labels)
        run = replace(run, metadata=prompt.metadata)
        task = self._runs[run.id] = RunTask(self._agent, run, prompt, self._writer, self._model)
        self._queue.append(task)
        if self._current is None:
            self._begin_next()
        else:
            task.queue()
        return run.id

    def _begin_next(self) -> None:
        self._current = self._queue.popleft() if self._queue else None
        self._working = self._current.begin() if self._current else None

    def _model(self) -> ModelContext:
        if self._known_model is None:
            self._known_model = ModelContext(self._agent.model, self._agent.system)
        return self._known_model

    def _run(self, run_id: str) -> RunTask:
        if run_id not in self._runs:
            raise RunNotFound(run_id)
        return self._runs[run_id]

    def _check_goes_on(self, run: RunTask) -> None:
        if run.run.is_over:
            raise RunEnded(f"run {run.run.id} has ended ({run.run.state})")
