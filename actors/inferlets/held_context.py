"""One context of a program: its turns to their ends, whether the program waits for them or not."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actors.contexts.context import ContextRef
from actors.contexts.placed import Contents
from actors.contexts.reader import TurnReader
from actors.contexts.run import TurnRun
from actors.contexts.stream import OwnTurnStream
from actors.engine.contract import Hole
from actors.models.messages import TurnOutput
from api.errors import GreenroomError
from api.inferlet import context_effects
from api.inferlet.context_effects import Generated, Mask, Turn
from api.turns import Distribution, Finish, Frame


def contents_of(
    tokens: tuple[int, ...], holes: tuple[context_effects.Hole, ...], adapter: str | None = None
) -> Contents:
    """What a program says that a context contains."""
    return Contents(tokens, tuple(Hole(*hole) for hole in holes), adapter)


class HeldContext:
    """Belongs to one event loop. A turn that the program has cancelled or left ends before the next one begins."""

    def __init__(self, context: ContextRef, reader: TurnReader) -> None:
        self._context = context
        self._reader = reader
        self._origin: asyncio.Task[None] | None = None
        self._streams: dict[str, tuple[TurnRun, AsyncGenerator[Frame]]] = {}
        self._reading = asyncio.Lock()
        self._pending = context.scope.part()

    async def generate(self, turn: Turn) -> Generated:
        """Run a turn to its end; cancelled, it ends in the engine too.

        Raises:
            GreenroomError: it cannot be, or failed.
        """
        run = await self._begin(turn)
        try:
            output = await run.end()
            while _was_cancelled(run, output.finish):
                await run.start(replace(output, finish=None))
                output = await run.end()
        except BaseException:
            await asyncio.shield(self._before_next(run.cancel_and_wait()))
            raise
        await self._ended(turn, run, len(output.ids))
        started = run.started
        return Generated(started.prompt_ids, output.ids, output.pieces, output.finish, started.num_resident)

    async def next_piece(self, turn: Turn, delivered: Generated) -> Generated:
        """What a turn has made after what was delivered.

        Raises:
            GreenroomError: it cannot be, or failed.
        """
        turn_id, before = turn.request.turn_id, TurnOutput(delivered.ids, delivered.pieces)
        if turn_id not in self._streams:
            self._read(turn_id, await self._begin(turn, before))
        run, stream = self._streams[turn_id]
        try:
            async with self._reading:
                frame = await anext(stream)
                while _was_cancelled(run, frame.finish):
                    before = _joined(before, frame)
                    await run.start(before)
                    frame = await anext(self._read(turn_id, run))
        except BaseException:
            await asyncio.shield(self.leave(turn_id))
            raise
        num_output = frame.offset + len(frame.ids)
        if frame.finish:
            await self._leave(turn_id)
            await self._ended(turn, run, num_output)
        start, output = len(delivered.ids), _joined(before, frame)
        assert len(output.ids) == num_output, "frames follow each other"
        ids, pieces, started = output.ids[start:], output.pieces[start:], run.started
        prompt_ids = () if delivered.ids else started.prompt_ids
        return Generated(prompt_ids, ids, pieces, frame.finish, started.num_resident)

    async def distribution(self, turn: Turn) -> tuple[tuple[int, ...], Distribution]:
        """Run a turn that samples nothing: the ids of its prompt, and what may come next."""
        output = await self.generate(turn)
        assert output.finish is not None
        assert output.finish.distribution is not None, "it was asked for that"
        return output.prompt_ids, output.finish.distribution

    def leave(self, turn_id: str) -> asyncio.Task[None]:
        """Read a turn no further; it ends soon."""
        return self._before_next(self._leave(turn_id))

    def begin_as_fork(self, source: HeldContext, contents: Contents) -> None:
        """Begin with the first tokens of another context."""
        self._origin = self._before_next(self._begin_as_fork(source, contents))

    async def fork(self, target_id: str, contents: Contents) -> ContextRef:
        """See ``ContextRef.fork``; an earlier owner might have placed it."""
        await self._ready()
        with suppress(GreenroomError):
            await self._context.place()
        return await self._context.fork(target_id, contents)

    async def mask(self, effect: Mask) -> None:
        """See ``ContextRef.mask``; an earlier owner might have placed it."""
        await self._ready()
        await self._context.place()
        await self._context.mask(effect.start, effect.end, contents_of(effect.tokens, effect.holes))

    async def residency(self) -> int:
        """See ``ContextRef.residency``."""
        return await self._context.residency()

    async def drop(self) -> None:
        """See ``ContextRef.drop``."""
        await self._ready()
        await self._context.drop()

    async def refill(self) -> None:
        """See ``ContextRef.refill``."""
        await self._ready()
        self._context.refill()

    async def stop(self) -> None:
        """End what runs, and leave the context as it is."""
        await self._context.stop()
        for turn_id in list(self._streams):
            await self._leave(turn_id)
        if self._origin:
            self._origin.cancel()
        await self._ready()

    async def close(self) -> None:
        """Free it."""
        await self._ready()
        await self.stop()
        await self._context.close()

    async def _begin(self, turn: Turn, delivered: TurnOutput | None = None) -> TurnRun:
        await self._ready()
        self._context.retain(turn.retention)
        self._context.message()
        await self._context.place()
        request = replace(turn.request, turn_id=_name(turn))
        run = self._context.run(request, contents_of(turn.tokens, turn.holes, turn.adapter))
        try:
            await run.start(delivered)
        except asyncio.CancelledError:
            await asyncio.shield(self._before_next(run.cancel_and_wait()))
            raise
        return run

    def _read(self, turn_id: str, run: TurnRun) -> AsyncGenerator[Frame]:
        stream = aiter(OwnTurnStream(run, self._reader))
        self._streams[turn_id] = run, stream
        return stream

    async def _leave(self, turn_id: str) -> None:
        if turn_id in self._streams:
            run, stream = self._streams.pop(turn_id)
            async with self._reading:  # by a call that is cancelled, and ends soon
                await stream.aclose()
            if run.is_cancelled:
                await run.wait_ended()

    async def _ended(self, turn: Turn, run: TurnRun, num_output: int) -> None:
        await self._context.turn_ended(len(turn.tokens) + len(run.started.prompt_ids) + num_output)

    def _before_next(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do this; the context's next turn waits for it, whether or not the program does."""
        return self._pending.start(work)

    async def _ready(self) -> None:
        """Its fork has been made, and no turn that was left runs in the engine any longer."""
        await self._pending.settled()

    async def _begin_as_fork(self, source: HeldContext, contents: Contents) -> None:
        self._context = await source.fork(self._context.id, contents)


def _name(turn: Turn) -> str:
    """Of the turn on its model actor: a later owner finds the turn that this one has left, and never another one."""
    about = repr((turn.tokens, turn.holes, turn.request)).encode(errors="replace")
    return f"{turn.request.turn_id}-{hashlib.blake2b(about, digest_size=6).hexdigest()}"


def _was_cancelled(run: TurnRun, finish: Finish | None) -> bool:
    """By an earlier owner that died, or as an orphan."""
    return finish is not None and finish.reason == "cancelled" and not run.is_cancelled


def _joined(before: TurnOutput, frame: Frame) -> TurnOutput:
    return TurnOutput(before.ids + frame.ids, before.pieces + frame.pieces)
