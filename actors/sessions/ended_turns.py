"""Turns of a session as its history has them, and as its owner sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from actors.models.messages import TurnOutput
from api.cluster import TurnRecord
from api.turns import Finish, Part, TurnRequest, TurnStart


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn that has started.

    Attributes:
        request: its own; ``told`` stands before its prompt, since edits have it tell that.
        place: in the log, when it has ended.
        num_restarts: after deaths of model actors.
        prompt_ids: what all of it came to, where that was known when it started.
    """

    request: TurnRequest
    told: tuple[Part, ...] = ()
    place: int = 0
    num_restarts: int = 0
    prompt_ids: tuple[int, ...] = ()

    @property
    def prompt(self) -> tuple[Part, ...]:
        """All that it tells."""
        return (*self.told, *self.request.prompt)

    @property
    def whole(self) -> TurnRequest:
        """The request for all that."""
        return replace(self.request, prompt=self.prompt)

    def record(self, length: int) -> TurnRecord:
        """For the session's owner, where the context has ``length`` tokens before it."""
        return replace(waiting_record(self.whole, length), is_waiting=False, num_told=len(self.told))


@dataclass(frozen=True, slots=True)
class EndedTurn:
    """A turn whose tokens are in a context, from ``base_length`` on; ``told`` as that of an open one.

    Attributes:
        context: the number of that context.
        num_forgotten: first ids of its prompt that are not kept: all, where the context is not the session's any more.
        model: of that context; "" in a session that was forked by an earlier release after the context.
    """

    request: TurnRequest
    base_length: int
    prompt_ids: tuple[int, ...]
    output: TurnOutput
    num_resident: int = 0
    ended_at: float | None = None
    told: tuple[Part, ...] = ()
    context: int = 0
    num_forgotten: int = 0
    model: str = ""

    @property
    def prompt(self) -> tuple[Part, ...]:
        """All that it told."""
        return (*self.told, *self.request.prompt)

    @property
    def num_prompt(self) -> int:
        """Tokens of its prompt."""
        return self.num_forgotten + len(self.prompt_ids)

    @property
    def start(self) -> TurnStart:
        """As it was when it started; ids that are not kept are 0."""
        request, ids = self.request, (*(0,) * self.num_forgotten, *self.prompt_ids)
        return TurnStart(
            request.turn_id,
            self.base_length,
            ids,
            self.num_resident,
            tools=request.callable_tools,
            model=self.model,
            is_held_reply=request.is_held_reply,
        )

    @property
    def end_length(self) -> int:
        """The context's length when it had ended."""
        return self.base_length + self.num_prompt + len(self.output.ids)

    def without_context(self) -> EndedTurn:
        """What is kept of it where the session has begun another context, which was told all that it needs."""
        return replace(self, told=(), prompt_ids=(), num_forgotten=self.num_prompt)

    def record(self, context: int) -> TurnRecord:
        """For the session's owner, where its context is of this number."""
        return TurnRecord(
            self.request.turn_id,
            self.prompt,
            self.output.text,
            self.base_length,
            self.end_length,
            len(self.output.ids),
            self.output.finish,
            self.request.note,
            self.ended_at,
            num_told=len(self.told),
            is_past=self.context != context,
        )


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A turn that came to nothing, at a context of ``base_length`` tokens; ``reason`` None where it was cancelled.

    ``context`` is the number of the one that it was for.
    """

    request: TurnRequest
    base_length: int
    reason: str | None
    context: int = 0

    def record(self, context: int) -> TurnRecord:
        """For the session's owner, where its context is of this number."""
        request, base = self.request, self.base_length if self.context >= context else 0
        finish = Finish("cancelled") if self.reason is None else None
        record = TurnRecord(request.turn_id, request.prompt, "", base, base, 0, finish, request.note, None, self.reason)
        return replace(record, is_past=self.context != context)


def waiting_record(request: TurnRequest, length: int) -> TurnRecord:
    """A turn that waits, on a context of ``length`` tokens."""
    return TurnRecord(request.turn_id, request.prompt, "", length, length, 0, None, request.note, is_waiting=True)
