"""What the model of one thread has read and said: tokens, and messages that are still to become tokens."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from api.agents.conversation import Conversation, Messages, closed, joined
from api.cluster import ModelInfo, Retention
from api.constraints import Constraint
from api.errors import LengthExceeded, Unavailable
from api.inferlet import get_auto_model, get_model
from api.inferlet.context_effects import Closed, Forked, Generated, Left, NextPiece, Turn
from api.inferlet.host import host
from api.tools import Tool, ToolChoice
from api.turns import Message, Sampling, Stop, TurnRequest

Made = TypeVar("Made")

NOTHING = Generated((), (), ())

ANSWER_PART = 4
"""An answer has this part of the model's window, if it may be so long, or the oldest turns leave for it."""


KNOWN_AFTER_S, MAX_ATTEMPTS = 0.25, 120


async def once_known(make: Callable[[], Made]) -> Made:
    """What is made with a model, once it is known what that is: a directory that has just begun has not heard of any.

    Raises:
        Unavailable: nobody tells in time.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            return make()
        except Unavailable:
            await asyncio.sleep(KNOWN_AFTER_S)
    return make()


class ModelContext:
    """One context after another: a new one where the oldest turns of the conversation must leave.

    Attributes:
        info: of the model.
    """

    def __init__(self, model: str | None, system: str, runs: Sequence[Messages] = ()) -> None:
        """One that is to read these earlier runs."""
        self.info = _info_of(model)
        self._known = Conversation(_opening(system), host().unique_id(), (), tuple(runs), len(runs))
        self._noted: Conversation | None = None
        self._is_introduced = False
        self._num_turns = 0

    @classmethod
    def of(cls, notes: Sequence[Any]) -> ModelContext:
        """The one that has made these notes."""
        found = cls.__new__(cls)
        found._num_turns = notes[-1]["num_turns"]
        known = Conversation((), "").with_changes(notes)
        for note in (note for note in notes if "info" in note):
            found.info, known = note["info"], replace(known, opening=tuple(note["opening"]))
        found._known = found._noted = known
        found._is_introduced = True
        return found

    @property
    def note(self) -> dict[str, Any]:
        """What has changed since the last one that was kept; between two runs."""
        who = {} if self._is_introduced else {"info": self.info, "opening": list(self._known.opening)}
        return {**who, **self._known.changes_since(self._noted), "num_turns": self._num_turns}

    def noted(self) -> None:
        """The note is kept."""
        self._noted, self._is_introduced = self._known, True

    @property
    def context_id(self) -> str:
        """Of the context that it has now."""
        return self._known.context_id

    @property
    def known_runs(self) -> tuple[Messages, ...]:
        """The runs that have ended, but for those that have left."""
        return self._known.runs

    def forked_note(self, context_id: str, runs: Iterable[Messages]) -> dict[str, Any]:
        """The note of one that has read what this one has read, and is to read these runs; between two runs."""
        known = replace(self._known, context_id=context_id)
        for run in runs:
            known = known.unread(run)
        who = {"info": self.info, "opening": list(known.opening)}
        return {**who, **known.changes_since(None), "num_turns": self._num_turns}

    def begin_as_fork(self, origin: str) -> None:
        """Have what it has read from a context of this id, which begins so; where that is not there, read it again."""
        if self._known.tokens:
            host().tell(Forked(origin, self._known.context_id, self.info.name, self._known.tokens))

    def close(self) -> None:
        """It is needed no longer."""
        host().tell(Closed(self._known.context_id))

    def hand_over(self, model: str | None, system: str) -> None:
        """Another model, or one that is told something else first, goes on with the run and what was said before."""
        self.info = _info_of(model)
        self.close()
        known, context_id = self._known, host().unique_id()
        opening, runs = _opening(system), known.runs
        self._known = self._fitting = Conversation(opening, context_id, (), runs, len(runs), known.num_left)
        self._is_introduced = False
        self._tokens, self._pending = self._known.tokens, [*self._known.pending, *self._running]
        self._num_read = 0

    def begin_run(self) -> None:
        """What comes from now on is of a new run."""
        self._running: list[Message] = []
        self._num_read = 0
        self._fitting = self._known
        self._tokens, self._pending = self._known.tokens, self._known.pending

    def end_run(self) -> None:
        """The run has succeeded. The model is to read later what others than it have said and done at its end."""
        if self._pending:
            self.end_run_as(closed(self._running, (), ""))
        else:
            self._known = self._known.read(self._tokens, self._running)

    def end_run_as(self, messages: Sequence[Message]) -> None:
        """The run has ended otherwise: the model will have read and said this of it.

        Earlier runs that left for what the model has not read after all are back.
        """
        if self._known is not self._fitting:
            host().tell(Closed(self._known.context_id))
        self._known = self._fitting.unread(messages)

    @property
    def messages(self) -> tuple[Message, ...]:
        """Of the run, as far as they are complete."""
        return tuple(self._running)

    @property
    def read_messages(self) -> tuple[Message, ...]:
        """Of the run, what the model has read and said."""
        return tuple(self._running[: self._num_read])

    def read(self, message: Message) -> None:
        """Let the model read this with its next step."""
        if message.role == "user" and self._running and self._running[-1].role == "user":
            message = joined(self._running.pop(), message.content)
            self._pending.pop()
        self._running.append(message)
        self._pending.append(message)

    def said(self, message: Message) -> None:
        """The model has said this in the step that has ended."""
        self._running.append(message)
        self._num_read = len(self._running)

    async def step(
        self, tools: tuple[Tool, ...], choice: ToolChoice, max_tokens: int, constraint: Constraint | None
    ) -> AsyncGenerator[tuple[Generated, int]]:
        """What the model says next as it comes, each with the number of tokens that it has read.

        Raises:
            LengthExceeded: it cannot read so much, or say little more; see ``make_room``.
            GreenroomError
        """
        turn = self._turn(tools, choice, max_tokens, constraint)
        output = NOTHING
        try:
            while output.finish is None:
                more = await host().begin(NextPiece(turn, output))
                if output is NOTHING and self._is_cramped(turn, more):
                    raise LengthExceeded(len(turn.tokens), len(more.prompt_ids), self.info.max_context_tokens)
                prompt_ids = output.prompt_ids or more.prompt_ids
                output = Generated(prompt_ids, output.ids + more.ids, output.pieces + more.pieces, more.finish)
                yield more, len(turn.tokens) + len(prompt_ids)
        finally:
            if output.finish is None:
                host().tell(Left(turn))
            if output is not NOTHING:
                self._tokens, self._pending = (*turn.tokens, *output.prompt_ids, *output.ids), []
                self._num_read = len(self._running)
                self._keep_room()

    def make_room(self) -> bool:
        """Let the older half of the earlier runs leave; False where there is none."""
        if not self._known.runs:
            return False
        if self._known is not self._fitting:
            host().tell(Closed(self._known.context_id))
        self._known = self._known.halved(host().unique_id())
        self._tokens, self._pending = self._known.tokens, [*self._known.pending, *self._running]
        return True

    def _keep_room(self) -> None:
        """Earlier runs that have left do not come back."""
        if self._known is not self._fitting:
            host().tell(Closed(self._fitting.context_id))
            self._fitting = self._known

    def _is_cramped(self, turn: Turn, first: Generated) -> bool:
        """A turn that has begun so has little room for its answer, and could have more."""
        num_left = self.info.max_context_tokens - len(turn.tokens) - len(first.prompt_ids)
        is_short = num_left < min(turn.request.stop.max_tokens, self.info.max_context_tokens // ANSWER_PART)
        has_ended = first.finish is not None and first.finish.reason != "context"
        return is_short and not has_ended and bool(self._known.runs)

    def _turn(
        self, tools: tuple[Tool, ...], choice: ToolChoice, max_tokens: int, constraint: Constraint | None
    ) -> Turn:
        self._num_turns += 1
        request = TurnRequest(
            f"turn-{self._num_turns}",
            tuple(self._pending),
            self._sampling(),
            Stop(max_tokens),
            tools=tools,
            tool_choice=choice,
            constraint=constraint,
        )
        return Turn(self._known.context_id, self.info.name, self._tokens, request, Retention())

    def _sampling(self) -> Sampling:
        """What the checkpoint suggests, with a seed of this turn's own, the same in every life."""
        if self.info.sampling.temperature == 0:
            return self.info.sampling
        name = f"{self._known.context_id}/{self._num_turns}".encode()
        seed = int.from_bytes(hashlib.blake2b(name, digest_size=4).digest()) >> 1
        return replace(self.info.sampling, seed=seed)


def _opening(system: str) -> tuple[Message, ...]:
    return (Message("system", system),) if system else ()


def _info_of(model: str | None) -> ModelInfo:
    return (get_auto_model() if model is None else get_model(model)).info
