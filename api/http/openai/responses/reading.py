"""A response as it is read from its turn: its events, and what it has come to."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from api.answers.formats import AnswerFormat
from api.answers.parsers import parser_of
from api.errors import GreenroomError, sentence_of
from api.http.openai.choice import Token
from api.http.openai.envelope import openai_error_body
from api.http.openai.responses.ids import call_ids
from api.http.openai.responses.item_events import Event
from api.http.openai.responses.items import Item
from api.http.openai.responses.output import ENCRYPTED_REASONING, Output
from api.http.openai.responses.resource import EVENTS, STATUSES, State, Usage, resource
from api.http.openai.scores import TokenTexts
from api.turns import Frame, Part, TurnStart


class Reading:
    """One reader's view of a response, from its turn's first token on.

    Args:
        fields: those that do not change.
        frames: of the whole turn; closed when the events are.
        texts: of the model's tokens, for log-probabilities; None leaves those out.
        after: events up to this number are left out.
        ended_at: when it ended, where it has; else that is found out.
        leave: called when the reading ends, wherever that is.
        prompt: of its turn, where that is not stored.
    """

    def __init__(
        self,
        response_id: str,
        fields: Mapping[str, Any],
        start: TurnStart,
        frames: AsyncGenerator[Frame],
        answers: AnswerFormat,
        texts: TokenTexts | None,
        after: int = -1,
        ended_at: float | None = None,
        leave: Callable[[], Awaitable[None]] | None = None,
        prompt: tuple[Part, ...] = (),
    ) -> None:
        self.id = response_id
        self.prompt = prompt
        self._ids: list[int] = []
        self._fields = fields
        self._start = start
        self._frames = frames
        parser = parser_of(answers, call_ids(response_id), start.tools)
        self._output = Output(response_id, parser, after, ENCRYPTED_REASONING in fields.get("include", ()))
        self._texts = texts
        self._ended_at = ended_at
        self._leave = leave
        self._state = State("in_progress")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its tools' arguments are not held to, each a sentence."""
        return tuple(f"arguments of tools are not held to {words}" for words in self._start.unheld)

    @property
    def num_input(self) -> int:
        """Tokens before its first one."""
        return self._start.base_length + len(self._start.prompt_ids)

    @property
    def context_ids(self) -> tuple[int, ...]:
        """What has been read of the context: the prompt of a turn that began it, and the answer."""
        return (*self._start.prompt_ids, *self._ids)

    @property
    def output(self) -> Sequence[Item]:
        """The items of its output, as far as they were read."""
        return self._output.items

    @property
    def is_answered(self) -> bool:
        """Whether it has ended by itself, with an answer."""
        return bool(self._ids) and self._state.status in ("completed", "incomplete")

    async def leave(self) -> None:
        """Read no more of it. Idempotent; ``whole`` and ``events`` do it in their end."""
        if self._leave is not None:
            await self._leave()

    @classmethod
    def queued(cls, response_id: str, fields: Mapping[str, Any], answers: AnswerFormat, texts: TokenTexts) -> Reading:
        """A response that has not begun, for those who do not wait for it."""
        reading = cls(response_id, fields, TurnStart(response_id, 0, (), 0), _nothing(), answers, texts)
        reading._state = State("queued")
        return reading

    def view(self) -> dict[str, Any]:
        """As it is now."""
        return resource(self.id, self._fields, self._state)

    async def whole(self) -> dict[str, Any]:
        """As it is when it has ended.

        Raises:
            GreenroomError: it failed.
        """
        try:
            async with aclosing(self._frames):
                async for frame in self._frames:
                    self._output.take(frame, await self._logprobs(frame))
                    if frame.finish is not None:
                        self._end(STATUSES[frame.finish.reason])
        finally:
            await self.leave()
        return self.view()

    async def events(self) -> AsyncGenerator[list[Event]]:
        """All events after ``after``, those of a failure too."""
        try:
            async with aclosing(self._events()) as all_events:
                async for events in all_events:
                    yield events
        finally:
            await self.leave()

    async def _events(self) -> AsyncGenerator[list[Event]]:
        output = self._output
        kinds = ("response.queued",) if self._fields["background"] else ()
        yield output.opening("response.created", *kinds, "response.in_progress", response=self.view())
        async with aclosing(self._frames):
            try:
                async for frame in self._frames:
                    events = output.take(frame, await self._logprobs(frame))
                    if frame.finish is not None:
                        self._end(STATUSES[frame.finish.reason])
                        output.emit(EVENTS[self._state.status], response=self.view())
                    yield events + output.drain()
            except GreenroomError as error:
                events = output.cut()
                self._end("failed", error)
                told = openai_error_body(error.status, error.code, sentence_of(error))["error"]
                output.emit("error", error=told)
                output.emit(EVENTS["failed"], response=self.view())
                yield events + output.drain()

    async def _logprobs(self, frame: Frame) -> list[Item]:
        """Of the frame's tokens, but for an end token."""
        self._ids += frame.ids
        if self._texts is None:
            return []
        is_ended = frame.finish is not None and frame.finish.reason == "eos"
        ids = frame.ids[:-1] if is_ended else frame.ids
        tokens = [Token(token_id, logprobs, 0) for token_id, logprobs in zip(ids, frame.logprobs, strict=False)]
        return [scored.view() for scored in await self._texts.scored(tokens)] if tokens else []

    def _end(self, status: str, error: GreenroomError | None = None) -> None:
        start, output = self._start, self._output
        usage = Usage(self.num_input, start.num_resident, output.num_tokens, output.num_reasoning)
        self._state = State(status, output.items, usage, error, self._ended_at or time.time())


async def _nothing() -> AsyncGenerator[Frame]:
    frames: tuple[Frame, ...] = ()
    for frame in frames:
        yield frame
