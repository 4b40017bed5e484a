"""What the model of one thread has read and said: tokens, and messages that are still to become tokens."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace

from api.cluster import ModelInfo, Retention
from api.inferlet import get_auto_model, get_model
from api.inferlet.context_effects import Closed, Generated, Left, NextPiece, Turn
from api.inferlet.host import host
from api.tools import Tool, ToolChoice
from api.turns import Message, Sampling, Stop, TurnRequest

State = tuple[ModelInfo, list[Message], list[list[Message]], int, str, tuple[int, ...], list[Message]]

NOTHING = Generated((), (), ())


class ModelContext:
    """One context after another: a new one where the oldest turns of the conversation must leave.

    Attributes:
        info: of the model.
    """

    def __init__(self, model: str | None, system: str) -> None:
        self.info: ModelInfo = (get_auto_model() if model is None else get_model(model)).info
        self._opening = [Message("system", system)] if system else []
        self._runs: list[list[Message]] = []
        self._running: list[Message] = []
        self._num_turns = 0
        self._id = host().unique_id()
        self._tokens: tuple[int, ...] = ()
        self._pending = [*self._opening]
        self._mark: tuple[int, tuple[Message, ...]] = (0, tuple(self._pending))

    @classmethod
    def of(cls, state: State) -> ModelContext:
        """The one that had this state."""
        found = cls.__new__(cls)
        found.info, found._opening, found._runs, found._num_turns, found._id, found._tokens, found._pending = state
        found.begin_run()
        return found

    @property
    def state(self) -> State:
        """All of it, between two runs; not to be changed."""
        return self.info, self._opening, [*self._runs], self._num_turns, self._id, self._tokens, [*self._pending]

    @property
    def num_tokens(self) -> int:
        """Of the context."""
        return len(self._tokens)

    def begin_run(self) -> None:
        """What comes from now on is of a new run."""
        self._running = []
        self._mark = len(self._tokens), tuple(self._pending)

    def end_run(self) -> None:
        """The run has succeeded."""
        self._runs.append(self._running)

    def end_run_as(self, messages: Sequence[Message]) -> None:
        """The run has ended otherwise: the model will have read and said this of it."""
        length, pending = self._mark
        self._tokens, self._pending = self._tokens[:length], [*pending, *messages]
        if messages:
            self._runs.append(list(messages))

    @property
    def messages(self) -> tuple[Message, ...]:
        """Of the run, as far as they are complete."""
        return tuple(self._running)

    def read(self, message: Message) -> None:
        """Let the model read this with its next step."""
        self._running.append(message)
        self._pending.append(message)

    def said(self, message: Message) -> None:
        """The model has said this in the step that has ended."""
        self._running.append(message)

    async def step(
        self, tools: tuple[Tool, ...], choice: ToolChoice, max_tokens: int
    ) -> AsyncGenerator[tuple[Generated, int]]:
        """What the model says next as it comes, each with the number of tokens that it has read.

        Raises:
            LengthExceeded: it cannot read so much; see ``make_room``.
            GreenroomError
        """
        turn = self._turn(tools, choice, max_tokens)
        output = NOTHING
        try:
            while output.finish is None:
                more = await host().begin(NextPiece(turn, output))
                prompt_ids = output.prompt_ids or more.prompt_ids
                output = Generated(prompt_ids, output.ids + more.ids, output.pieces + more.pieces, more.finish)
                yield more, len(turn.tokens) + len(prompt_ids)
        finally:
            if output.finish is None:
                host().tell(Left(turn))
            if output is not NOTHING:
                self._tokens, self._pending = (*turn.tokens, *output.prompt_ids, *output.ids), []

    def make_room(self) -> bool:
        """Let the older half of the earlier runs leave; False where there is none."""
        if not self._runs:
            return False
        del self._runs[: (len(self._runs) + 1) // 2]
        earlier = [*self._opening, *_flat(self._runs)]
        host().tell(Closed(self._id))
        self._restart([*earlier, *self._running])
        self._mark = 0, tuple(earlier)
        return True

    def _restart(self, pending: list[Message]) -> None:
        self._id = host().unique_id()
        self._tokens, self._pending = (), pending

    def _turn(self, tools: tuple[Tool, ...], choice: ToolChoice, max_tokens: int) -> Turn:
        self._num_turns += 1
        request = TurnRequest(
            f"turn-{self._num_turns}",
            tuple(self._pending),
            self._sampling(),
            Stop(max_tokens),
            tools=tools,
            tool_choice=choice,
        )
        return Turn(self._id, self.info.name, self._tokens, request, Retention())

    def _sampling(self) -> Sampling:
        """What the checkpoint suggests, with a seed of this turn's own, the same in every life."""
        if self.info.sampling.temperature == 0:
            return self.info.sampling
        name = f"{self._id}/{self._num_turns}".encode()
        seed = int.from_bytes(hashlib.blake2b(name, digest_size=4).digest()) >> 1
        return replace(self.info.sampling, seed=seed)


def _flat(runs: Iterable[Iterable[Message]]) -> Iterable[Message]:
    return (message for run in runs for message in run)
