"""The program of every thread: takes commands, and works on one run at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from api.agents.agent import Agent
from api.agents.conversation import Messages
from api.agents.forks import model_of, runs_before
from api.agents.model_context import ModelContext
from api.agents.run import RunTask, num_chars_of
from api.agents.toolbox import Toolbox
from api.agents.writer import Writer
from api.errors import GreenroomError, InvalidRequest, RunEnded, RunNotFound, ThreadBusy, TooBusy, reason_of
from api.inferlet import Args, instance_id, now
from api.inferlet.effects import Receive
from api.inferlet.host import Beginning, host
from api.inferlet.program import Program
from api.logs import event_logger
from api.mcp_servers import McpServer
from api.threads.commands import Answers, Cancel, Command, Exhausted, Prompt, Steer, received
from api.threads.runs import Run
from api.tools import ToolChoice, check_tools

log = event_logger("greenroom.agent")

MODES = ("auto", "none", "required")
"""Of ``tool_choice``, where that names no tool."""

MAX_QUEUED, MAX_QUEUED_CHARS = 100, 4 << 20
"""Runs of one thread that wait for their place, and characters of all that they have with them."""


def program_of(agent: Agent, servers: Mapping[str, McpServer]) -> Program:
    """What the actor of one of its threads runs; its one argument is the ``context_id``.

    ``servers`` are those of the configuration.
    """

    async def main(args: Args) -> None:
        with closing(Toolbox(servers)) as tools:
            await _Thread(agent, tools, instance_id(), args.argv[0]).take_commands()

    return Program(main)


class _Thread:
    def __init__(self, agent: Agent, tools: Toolbox, thread_id: str, context_id: str) -> None:
        self._agent = self._active = agent
        self._tools = tools
        self._ids = thread_id, context_id
        self._writer = Writer()
        self._runs: dict[str, RunTask] = {}
        self._queue: deque[RunTask] = deque()
        self._current: RunTask | None = None
        self._working: asyncio.Task[None] | None = None
        self._last_begun: str | None = None
        self._known_model: ModelContext | None = None
        self._noted: frozenset[str] = frozenset()
        self._num_runs_before = 0
        self._runs_before: tuple[Messages, ...] = ()

    async def take_commands(self) -> None:
        """For ever, from one checkpoint to the next: each run, and each command to a thread at rest, comes to one."""
        self._restore(host().begin_from_checkpoint())
        while True:
            await self._take_until_checkpoint()

    async def _take_until_checkpoint(self) -> None:
        receiving = asyncio.ensure_future(host().begin(Receive(None)))
        self._begin_next()
        while True:
            working = {self._working} if self._working else set()
            done, _ = await asyncio.wait({receiving, *working}, return_when=asyncio.FIRST_COMPLETED)
            if self._working in done:
                self._working.result()
                self._active = self._current.agent if self._current else self._active
                self._current = self._working = None
                if not receiving.done() and self._checkpoint():
                    return
                self._begin_next()
            if receiving in done:
                message = receiving.result()
                receiving = asyncio.ensure_future(host().begin(Receive(None)))
                assert message is not None
                self._take(message.position, message.value)
                if self._current is None and self._checkpoint():
                    return

    def _checkpoint(self) -> bool:
        """Whether a later life begins here, with what has changed since the last checkpoint."""
        queued = {task.run.id: task for task in self._queue}
        note = {
            "num_blocks": self._writer.num_blocks,
            "queue": list(queued),
            "queued": [task.kept for run_id, task in queued.items() if run_id not in self._noted],
            "agent": self._active.name,
            "last_run": self._last_begun,
            "model": self._known_model.note if self._known_model else None,
            "tools": self._tools.note,
        }
        if not host().checkpoint(note):
            return False
        self._runs = queued  # those that have ended are known to the actor
        self._noted = frozenset(queued)
        if self._known_model:
            self._known_model.noted()
        self._tools.noted()
        return True

    def _restore(self, beginning: Beginning) -> None:
        """Runs that had begun and are lost have ended."""
        notes = beginning.notes
        for note in notes:
            self._writer.num_blocks = note["num_blocks"]
            self._tools.restore(note.get("tools", {}))
            for kept in note["queued"]:
                self._note(RunTask.of(kept, self._active, self._tools, self._writer, self._model, self._note))
            self._runs = {run_id: self._runs[run_id] for run_id in note["queue"]}
            self._active = self._agent.reachable().get(note.get("agent", ""), self._agent)
            self._last_begun = note["last_run"]
            self._num_runs_before = note.get("num_runs", self._num_runs_before)
        self._known_model, self._runs_before = model_of(notes), runs_before(notes)
        if self._known_model and (origin := notes[-1].get("origin")):
            self._known_model.begin_as_fork(origin)
        self._noted = frozenset(self._runs)
        if beginning.lost is not None:
            self._requeue(beginning.lost)
            self._writer.num_blocks += sum(value["log"] == "created" for value in beginning.lost)
        self._queue.extend(self._runs.values())
        self._tools.noted()

    def _requeue(self, lost: Iterable[Any]) -> None:
        """Of what is logged here, let those runs wait for their place that had not begun."""
        for value in lost:
            if value["log"] != "run":
                continue
            run_id, known = value["run"]["id"], self._runs.get(value["run"]["id"])
            if "asked" in value:
                run = Run.changed(value["run"], known.run if known else None)
                kept = {**(known.kept if known else {}), **value["asked"], "run": run.kept}
                self._note(RunTask.of(kept, self._active, self._tools, self._writer, self._model, self._note))
                self._noted -= {run_id}
            else:
                self._runs.pop(run_id, None)
                if value["run"]["started_at"] and not value["run"]["parent_run_id"]:
                    self._last_begun = run_id

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
                if run in self._queue:
                    self._check_waits(len(text))
                run.steer(text, {})
                self._noted -= {run_id}
            case Cancel(run_id, mode):
                run = self._run(run_id)
                run.cancel("rollback" if mode == "rollback" else "user")
                self._queue = deque(one for one in self._queue if not one.run.is_over)
            case Answers():
                run = self._answer(command)
            case Exhausted(run_id):
                run = self._run(run_id)
                run.exhaust()
        return run.run.id

    def _prompt(self, position: int, prompt: Prompt) -> str:
        self._check_tools(prompt)
        busy = None if self._current is None or self._current.run.is_over else self._current
        last = self._queue[-1].run.id if self._queue else self._last_begun
        if prompt.after and prompt.after != last:
            raise ThreadBusy(f"run {last} came after run {prompt.after}, which this was to follow")
        policy = prompt.if_busy or self._active.if_busy
        if busy and policy == "reject":
            raise ThreadBusy(f"run {busy.run.id} is there already")
        if busy and policy == "steer" and prompt.is_for_own_run:
            if prompt.if_busy:
                what = "tool_choice, limits, history, tools or metadata"
                raise ThreadBusy(f"run {busy.run.id} is there already: a prompt that joins it has no {what} of its own")
            policy = "queue"
        if busy and policy == "steer":
            busy.steer(prompt.text, prompt.labels)
            return busy.run.id
        if len(self._queue) >= MAX_QUEUED:
            raise TooBusy("as many runs of this thread as are allowed wait already")
        self._check_waits(num_chars_of(prompt))
        if prompt.answering:
            self._answer(prompt.answering)
        if busy and policy != "queue":
            for one in (*self._queue, busy):
                one.cancel("rollback" if policy == "rollback" else "interrupted")
            self._queue.clear()
        return self._accept(position, prompt)

    def _answer(self, given: Answers) -> RunTask:
        run = self._run(given.run_id)
        self._check_goes_on(run)
        run.asks.take(given.answers)
        return run

    def _check_waits(self, num_chars: int) -> None:
        """So much more can wait for its place; what is the only one is as long as a request can be."""
        if self._queue and sum(task.num_chars for task in self._queue) + num_chars > MAX_QUEUED_CHARS:
            raise TooBusy("as much as is allowed waits in this thread already")

    def _check_tools(self, prompt: Prompt) -> None:
        agent, name = self._active, self._active.name
        for tool in prompt.tools:
            if self._tools.get(agent, tool.name):
                raise InvalidRequest(f"tools: agent {name!r} has a tool {tool.name!r} of its own")
        if prompt.tools:
            check_tools((*self._tools.specs(agent), *prompt.tools), ToolChoice())
        for choice in () if self._tools.unlisted(agent) else prompt.tool_choice:
            if choice not in MODES and self._tools.get(agent, choice, prompt.tools) is None:
                raise InvalidRequest(f"tool_choice: agent {name!r} has no tool {choice!r:.140}")
            if choice == "required" and not self._tools.specs(agent, prompt.tools):
                raise InvalidRequest(f"tool_choice: agent {name!r} has no tools")

    def _accept(self, position: int, prompt: Prompt) -> str:
        thread_id, context_id = self._ids
        run_id, agent = f"{thread_id}.r{self._num_runs_before + position}", self._active
        run = Run(run_id, agent.name, thread_id, context_id, prompt.text, now(), labels=prompt.labels)
        run = replace(run, metadata=prompt.metadata, history=prompt.history)
        task = RunTask(agent, self._tools, run, prompt, self._writer, self._model, self._note)
        self._note(task)
        self._queue.append(task)
        if self._current is None:
            self._begin_next()
        else:
            task.queue()
        return run.id

    def _begin_next(self) -> None:
        self._current = self._queue.popleft() if self._queue else None
        if self._current:
            self._last_begun = self._current.run.id
            self._working = self._current.begin(self._active)

    def _model(self) -> ModelContext:
        if self._known_model is None:
            self._known_model = ModelContext(self._active.model, self._active.system, self._runs_before)
        return self._known_model

    def _note(self, task: RunTask) -> None:
        self._runs[task.run.id] = task

    def _run(self, run_id: str) -> RunTask:
        if run_id not in self._runs:
            raise RunNotFound(run_id)
        return self._runs[run_id]

    def _check_goes_on(self, run: RunTask) -> None:
        if run.run.is_over:
            raise RunEnded(f"run {run.run.id} has ended ({run.run.state})")
