"""A turn of the toy model: a task that writes frames, and streams that read them from any offset."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

from actors.models.prompt import prompt_ids
from api.errors import InvalidRequest, LengthExceeded
from api.turns import Distribution, Finish, Frame, Reason, TokenLogprobs, TurnRequest, TurnStart
from tests.api import toy_model


class Pace:
    """How fast the toy model is: as fast as it can, until it is held; then one token for each one allowed."""

    def __init__(self) -> None:
        self._permits: asyncio.Semaphore | None = None

    def hold(self) -> None:
        """From now on, no token without ``allow``."""
        self._permits = asyncio.Semaphore(0)

    def allow(self, num_tokens: int) -> None:
        """Let so many tokens out."""
        assert self._permits is not None, "hold first"
        for _ in range(num_tokens):
            self._permits.release()

    def release(self) -> None:
        """As fast as it can again."""
        held, self._permits = self._permits, None
        if held is not None:
            for _ in range(10_000):
                held.release()

    async def step(self) -> None:
        """Wait for leave to sample one token."""
        await (self._permits.acquire() if self._permits else asyncio.sleep(0))


class FakeTurn:
    """One turn on a list of token ids, which grows as the turn goes on."""

    def __init__(
        self, request: TurnRequest, context: list[int], max_context: int, model: toy_model.Model, pace: Pace
    ) -> None:
        self.request = request
        self.frames: list[Frame] = []
        self.finish: Finish | None = None
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self._context, self._model, self._pace = context, model, pace
        self._decoder = toy_model.Decoder(request.skip_special_tokens)
        self._changed = asyncio.Condition()
        self._cancelled = asyncio.Event()
        self._text, self._since_test = "", 0
        last_id = context[-1] if context else None
        ids = prompt_ids(toy_model.Tokenizer(), request, len(context), last_id, max_context)
        total = len(context) + len(ids)
        limit = min(max_context, request.max_context if request.max_context is not None else max_context)
        if not total:
            raise InvalidRequest("there is nothing to go on from")
        if total > limit:
            raise LengthExceeded(len(context), len(ids), limit)
        self.start = TurnStart(
            request.turn_id,
            len(context),
            ids,
            len(context),
            tools=request.callable_tools,
            is_held_reply=request.is_held_reply,
        )
        self._room = limit + 1 - total
        context.extend(ids)
        self.task = asyncio.create_task(self._run())

    @property
    def num_output(self) -> int:
        """Tokens sampled so far."""
        return sum(len(frame.ids) for frame in self.frames)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(frame.text for frame in self.frames)

    @property
    def is_running(self) -> bool:
        """Whether there is more to come."""
        return not self.ended.is_set()

    def cancel(self) -> None:
        """End at the next step."""
        self._cancelled.set()

    async def _run(self) -> None:
        try:
            if self.request.embedding:
                vector = struct.pack(f"<{len(self.start.prompt_ids)}f", *self.start.prompt_ids)
                await self._emit((), (), Finish("embedding", embedding=vector))
            if self.request.distribution:
                top = tuple((token, -float(token)) for token in range(self.request.distribution))
                await self._emit((), (), Finish("distribution", distribution=Distribution(top, 0.5)))
            while self.finish is None:
                if not await self._is_stepped():
                    await self._emit((), (), Finish("cancelled", tail=self._decoder.end()))
                    return
                token = self._model(tuple(self._context))
                self._context.append(token)
                piece = self._decoder.add(token)
                self._text += piece
                self._since_test += 1
                finish = self._finish_after(token)
                await self._emit((token,), (piece,), finish, self._logprobs(token))
        except Exception as error:
            self.error = error
            del self._context[self.start.base_length :]
        finally:
            self.ended.set()
            async with self._changed:
                self._changed.notify_all()

    async def _is_stepped(self) -> bool:
        """Wait for the pace; False when the turn was cancelled first."""
        step, cancelled = asyncio.ensure_future(self._pace.step()), asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait((step, cancelled), return_when=asyncio.FIRST_COMPLETED)
            return not self._cancelled.is_set()
        finally:
            step.cancel()
            cancelled.cancel()

    def _finish_after(self, token: int) -> Finish | None:
        stop, is_eos = self.request.stop, token == toy_model.EOS
        num_output = self.num_output + 1
        if is_eos and stop.at_eos:
            return self._finish("eos")
        if (matched := next((text for text in stop.texts if text in self._text), None)) is not None:
            return self._finish("stop", matched)
        if self._since_test >= stop.stride or is_eos:
            self._since_test = 0
            matched = next((text for text in stop.suffixes if self._text.endswith(text)), None)
            if matched is not None:
                return self._finish("stop", matched)
        if num_output >= stop.max_tokens:
            return self._finish("length")
        return self._finish("context") if num_output >= self._room else None

    def _finish(self, reason: Reason, stop: str | None = None) -> Finish:
        return Finish(reason, stop, self._decoder.end())

    def _logprobs(self, token: int) -> tuple[TokenLogprobs, ...]:
        """What was sampled has the probability 1/2; the ids after it each half of the one before."""
        number = self.request.sampling.num_logprobs
        if number is None:
            return ()
        top = tuple(((token + rank) % toy_model.VOCAB_SIZE, -math.log(2) * (rank + 1)) for rank in range(number))
        return (TokenLogprobs(-math.log(2), top),)

    async def _emit(
        self,
        ids: tuple[int, ...],
        pieces: tuple[str, ...],
        finish: Finish | None,
        logprobs: tuple[TokenLogprobs, ...] = (),
    ) -> None:
        async with self._changed:
            self.frames.append(Frame(self.request.turn_id, 1, self.num_output, ids, pieces, logprobs, finish))
            self.finish = finish
            self._changed.notify_all()

    async def read(self, offset: int) -> AsyncIterator[Frame]:
        """Frames from a token offset (frames hold one token each); behind the last token only the end."""
        index = offset
        if self.finish and 0 < offset == len(self.frames):
            last = self.frames[-1]
            yield replace(last, offset=offset, ids=(), pieces=(), finish=self.finish)
            return
        while True:
            await self._has(index)
            if index < len(self.frames):
                yield self.frames[index]
                index += 1
            elif self.error:
                raise self.error
            else:
                return

    async def has_sampled(self, num_tokens: int) -> None:
        """Wait until so many tokens have been sampled."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.num_output >= num_tokens or self.ended.is_set())

    async def _has(self, index: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: index < len(self.frames) or self.ended.is_set())


class FakeStream:
    """A reader of a turn; a temporary one cancels the turn when it is left."""

    def __init__(self, turn: FakeTurn, offset: int = 0, is_temporary: bool = False) -> None:
        self.start = turn.start
        self._turn, self._offset, self._is_temporary = turn, offset, is_temporary

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self._frames()

    async def _frames(self) -> AsyncIterator[Frame]:
        try:
            async for frame in self._turn.read(self._offset):
                yield frame
        finally:
            if self._is_temporary:
                self._turn.cancel()

    async def cancel(self) -> None:
        """End the turn."""
        self._turn.cancel()


class DismissedStream:
    """A turn that was cancelled before it began."""

    def __init__(self, turn_id: str, base_length: int) -> None:
        self.start = TurnStart(turn_id, base_length, (), 0)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        yield Frame(self.start.turn_id, 1, 0, (), (), (), Finish("cancelled"))

    async def cancel(self) -> None:
        """It is."""
