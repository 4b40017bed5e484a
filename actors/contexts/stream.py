"""The frames of one turn as its caller sees them: in order, once each, over whatever dies on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress

from typing_extensions import override

from actors.contexts.reader import TurnReader
from actors.contexts.run import Ticket, TurnRun
from actors.models.messages import TurnOutput, turn_key
from api.cluster import TurnStream
from api.errors import GreenroomError, ModelLost, TurnNotFound, reason_of
from api.turns import Frame, TurnStart


class Delivered:
    """What one reader has been given of a turn; see ``TurnRun.ticket``.

    ``before`` is what it had before it read from ``offset`` on, where it knows that.
    """

    def __init__(self, offset: int, before: TurnOutput | None = None) -> None:
        self.offset = offset
        self._starts_at = 0 if before else offset
        self._frames: list[Frame] = [before.frame("", 0, 0)] if before else []

    def take(self, frame: Frame) -> None:
        """Another frame was delivered."""
        self.offset += len(frame.ids)
        self._frames.append(frame)

    def output(self) -> TurnOutput | None:
        """All of it; None where the reader did not read from the start, and so does not have the whole."""
        if self._starts_at:
            return None
        frames = self._frames
        return TurnOutput(
            tuple(id for frame in frames for id in frame.ids),
            tuple(piece for frame in frames for piece in frame.pieces),
            tuple(row for frame in frames for row in frame.logprobs),
        )


class SessionTurnStream(TurnStream):
    """A turn of a session. Its end, or its failure, is shown only when that is durable. Leaving it cancels nothing.

    ``again`` asks the session for a new ticket, ``ended`` waits until the turn's end is durable, ``stop`` cancels it.
    """

    def __init__(
        self,
        session_id: str,
        turn_id: str,
        ticket: Ticket,
        offset: int,
        reader: TurnReader,
        again: Callable[[int, TurnOutput | None], Awaitable[Ticket]],
        ended: Callable[[], Awaitable[TurnOutput]],
        stop: Callable[[], Awaitable[bool]],
    ) -> None:
        self.start: TurnStart = ticket.start
        self._turn_id = turn_id
        self._key = turn_key(session_id, turn_id)
        self._ticket = ticket
        self._offset = offset
        self._reader = reader
        self._again = again
        self._ended = ended
        self._stop = stop

    @override
    async def cancel(self) -> None:
        await self._stop()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        delivered = Delivered(self._offset)
        ticket = self._ticket
        while ticket.output is None:
            assert ticket.model is not None, "a running turn is on a model actor"
            try:
                async with aclosing(self._reader.follow(ticket.model, self._key, delivered.offset)) as frames:
                    async for frame in frames:
                        if frame.finish:
                            break
                        delivered.take(frame)
                        yield frame
                ticket = Ticket(ticket.attempt, ticket.start, None, await self._ended())
            except ModelLost:
                ticket = await self._again(ticket.attempt, delivered.output())
            except GreenroomError as failure:
                ticket = Ticket(ticket.attempt, ticket.start, None, await self._ended_after(failure))
        yield ticket.output.frame(self._turn_id, ticket.attempt, delivered.offset)

    async def _ended_after(self, failure: GreenroomError) -> TurnOutput:
        """The model actor has told of a failure: what became of the turn is what the session says."""
        try:
            return await self._ended()
        except TurnNotFound:  # the session's actor has ended since, and knows of no failure
            raise failure from None


class OwnTurnStream(TurnStream):
    """A turn that its reader runs itself, without a session, from after what was delivered when it was started.

    Leaving the stream cancels the turn.
    """

    def __init__(self, run: TurnRun, reader: TurnReader) -> None:
        self.start: TurnStart = run.started
        self._run = run
        self._reader = reader
        self._before = run.delivered

    @override
    async def cancel(self) -> None:
        await self._run.cancel()

    async def __aiter__(self) -> AsyncGenerator[Frame]:
        delivered = Delivered(len(self._before.ids), self._before)
        is_over = False
        try:
            while not is_over:
                assert self._run.placement is not None, "it was started"
                model = self._run.placement.model
                try:
                    async with aclosing(self._reader.follow(model, self._run.key, delivered.offset)) as frames:
                        async for frame in frames:
                            delivered.take(frame)
                            self._run.made(delivered.offset)
                            is_over = frame.finish is not None
                            yield frame
                except ModelLost:
                    await self._run.restart(delivered.output())
        except TurnNotFound as error:
            raise GreenroomError(f"the turn was lost: {reason_of(error)}") from None
        finally:
            if not is_over:
                await _shielded(self._run.cancel())


async def _shielded(work: Awaitable[None]) -> None:
    """Do it even while the reader is being cancelled."""
    task = asyncio.ensure_future(work)
    with suppress(asyncio.CancelledError):
        await asyncio.shield(task)
