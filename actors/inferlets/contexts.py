"""The contexts of one inferlet on the model actors: its turns, their recovery, and what is left at its end."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actors.contexts.context import BetweenTurns
from actors.contexts.reader import TurnReader
from actors.contexts.run import Placer, TurnRun
from actors.contexts.stream import OwnTurnStream
from actors.engine.contract import Hole, tokens_hash
from actors.inferlets.held_context import HeldContext
from actors.models.messages import TurnOutput
from actors.models.ref import Placement
from api.cluster import Retention
from api.errors import ContextLost, GreenroomError, ModelLost, Unavailable
from api.inferlet import context_effects
from api.inferlet.context_effects import Closed, Dropped, Forked, Generated, Left, Notice, Refilled, Turn
from api.logs import event_logger
from api.turns import Distribution, Finish, Frame

log = event_logger("greenroom.inferlet")


class Contexts:
    """Runs the turns of a program's contexts. The program's own token lists are the truth; here is only where KV lies.

    A turn is known on its model actor by its number and a digest of what it is about: an inferlet that is taken up
    again finds the turn that it had left, and never another one.
    """

    MAX_ATTEMPTS = 5
    RETRY_S = 0.05

    def __init__(self, placer: Placer, reader: TurnReader, timeout_s: float, owner: str = "") -> None:
        self._placer = placer
        self._owner = owner
        self._reader = reader
        self._timeout_s = timeout_s
        self._contexts: dict[str, HeldContext] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def generate(self, turn: Turn) -> Generated:
        """Run a turn to its end; cancelled, it ends in the engine too.

        Raises:
            GreenroomError: it cannot be, or failed.
        """
        run = await self._begin(turn, None)
        try:
            output = await run.end()
            while _was_cancelled(run, output.finish):
                await run.begin_again(replace(output, finish=None))
                output = await run.end()
        except BaseException:
            await asyncio.shield(self._context(turn).end_soon(run.cancel_and_wait()))
            raise
        await self._ended(turn, run, len(output.ids))
        return Generated(run.started.prompt_ids, output.ids, output.pieces, output.finish)

    async def next_piece(self, turn: Turn, delivered: Generated) -> Generated:
        """What a turn has made behind what was delivered.

        Raises:
            GreenroomError: it cannot be, or failed.
        """
        context, key = self._context(turn), turn.request.turn_id
        before = TurnOutput(delivered.ids, delivered.pieces)
        if key not in context.streams:
            run = context.runs[key] = await self._begin(turn, before)
            context.streams[key] = aiter(OwnTurnStream(run, self._reader, before))
        run = context.runs[key]
        try:
            frame = await anext(context.streams[key])
            while _was_cancelled(run, frame.finish):
                before = _joined(before, frame)
                await run.begin_again(before)
                context.streams[key] = aiter(OwnTurnStream(run, self._reader, before))
                frame = await anext(context.streams[key])
        except BaseException:
            await asyncio.shield(context.end_soon(context.leave(key)))
            raise
        if frame.finish:
            await context.leave(key)
            await self._ended(turn, run, frame.offset + len(frame.ids))
        start, end = len(delivered.ids), frame.offset + len(frame.ids)
        output = _joined(before, frame)
        assert len(output.ids) == end, "frames follow each other"
        return Generated(run.started.prompt_ids, output.ids[start:], output.pieces[start:], frame.finish)

    async def distribution(self, turn: Turn) -> tuple[tuple[int, ...], Distribution]:
        """Run a turn that samples nothing: the ids of its prompt, and what may come next."""
        output = await self.generate(turn)
        assert output.finish is not None
        assert output.finish.distribution is not None, "it was asked for that"
        return output.prompt_ids, output.finish.distribution

    async def resident(self, context_id: str) -> int:
        """How many tokens of a context have KV."""
        context = self._contexts.get(context_id)
        if context is None or context.between.placement is None:
            return 0
        with suppress(ModelLost):
            residency = await context.between.placement.model.residency(context_id)
            return residency.num_resident if residency else 0
        return 0

    async def mask(self, effect: context_effects.Mask) -> None:
        """Make a hole in a context where it is held; elsewhere it comes with the next turn.

        Raises:
            Unsupported: the engine cannot.
        """
        placement = await self._placed(effect.context_id, effect.model)
        await self._contexts[effect.context_id].ended()
        digest = tokens_hash(effect.tokens, _holes(effect.holes))
        with suppress(ModelLost, ContextLost):
            await placement.model.mask(effect.context_id, effect.start, effect.end, len(effect.tokens), digest)

    async def export(self, prefix: context_effects.Prefix, target_id: str) -> None:
        """Keep a copy of a context's KV under another id, as well as that goes."""
        await self._fork(Forked(prefix.context_id, target_id, prefix.model, prefix.tokens, prefix.holes))

    async def encode(self, effect: context_effects.Encode) -> tuple[int, ...]:
        """See ``ModelRef.encode``, over the deaths of model actors."""
        for _ in range(self.MAX_ATTEMPTS):
            with suppress(ModelLost):
                model = (await self._placer.place(effect.model, "")).model
                return await model.encode(effect.parts, effect.last_id, effect.after, effect.opens_answer)
            await asyncio.sleep(self.RETRY_S)
        raise Unavailable("no model actor answers")

    async def decode(self, effect: context_effects.Decode) -> str:
        """See ``ModelRef.decode``, over the deaths of model actors."""
        for _ in range(self.MAX_ATTEMPTS):
            with suppress(ModelLost):
                model = (await self._placer.place(effect.model, "")).model
                return await model.decode(effect.ids, effect.skip_special_tokens)
            await asyncio.sleep(self.RETRY_S)
        raise Unavailable("no model actor answers")

    def tell(self, notice: Notice) -> None:
        """See ``Host.tell``."""
        match notice:
            case Forked(target_id=target_id):
                target = self._contexts.setdefault(target_id, HeldContext(BetweenTurns(target_id, Retention())))
                target.origin = self._do(self._fork(notice))
            case Left(turn):
                context = self._context(turn)
                context.end_soon(context.leave(turn.request.turn_id))
            case Closed(context_id):
                self._do(self._close(context_id))
            case Dropped(context_id) | Refilled(context_id):
                self._do(self._move(context_id, isinstance(notice, Dropped)))

    async def stop(self) -> None:
        """End what runs, and leave the contexts as they are."""
        for context in self._contexts.values():
            await context.between.stop()
            for key in list(context.streams):
                await context.leave(key)
            await context.ended()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Free every context."""
        await self.stop()
        for context_id in list(self._contexts):
            await self._close(context_id)

    async def _begin(self, turn: Turn, delivered: TurnOutput | None) -> TurnRun:
        context = self._context(turn)
        await context.ended()
        if context.origin:
            await asyncio.wait([context.origin])
        context.between.turn_starts()
        context.between.message()
        placement = await self._placed(turn.context_id, turn.model)
        about = repr((turn.tokens, turn.holes, turn.request)).encode(errors="replace")
        name = f"{turn.request.turn_id}-{hashlib.blake2b(about, digest_size=6).hexdigest()}"
        run = TurnRun(
            self._placer,
            turn.model,
            turn.context_id,
            turn.tokens,
            replace(turn.request, turn_id=name),
            turn.retention.policy,
            self._timeout_s,
            placement,
            delivered=delivered,
            holes=_holes(turn.holes),
            owner=self._owner,
            adapter=turn.adapter,
        )
        try:
            await run.start()
        except asyncio.CancelledError:
            await asyncio.shield(context.end_soon(run.cancel_and_wait()))
            raise
        context.between.placement = run.placement
        return run

    async def _ended(self, turn: Turn, run: TurnRun, num_output: int) -> None:
        context = self._contexts.get(turn.context_id)
        if context:
            await context.between.turn_ended(run, len(turn.tokens) + len(run.started.prompt_ids) + num_output)

    async def _placed(self, context_id: str, model: str) -> Placement:
        context = self._contexts.setdefault(context_id, HeldContext(BetweenTurns(context_id, Retention())))
        if context.between.placement is None:
            context.between.placement = await self._placer.place(model, context_id)
        return context.between.placement

    async def _fork(self, notice: Forked) -> None:
        """A fork that does not succeed costs a refill."""
        source = self._contexts.get(notice.source_id)
        if source and source.origin:
            await asyncio.wait([source.origin])
        try:
            placement = source.between.placement if source else None
            placement = placement or await self._placer.place(notice.model, notice.source_id)
            digest = tokens_hash(notice.tokens, _holes(notice.holes))
            await placement.model.fork(notice.source_id, notice.target_id, len(notice.tokens), digest)
        except (GreenroomError, ModelLost) as error:
            log.debug("fork starts without KV", context_id=notice.target_id, error=str(error))
            return
        target = self._contexts.get(notice.target_id)
        if target:
            target.between.placement = placement

    async def _close(self, context_id: str) -> None:
        context = self._contexts.pop(context_id, None)
        if context is None:
            return
        if context.origin:
            await asyncio.wait([context.origin])
        await context.between.stop()
        for key in list(context.streams):
            await context.leave(key)
        if context.between.placement:
            with suppress(ModelLost, Unavailable):
                await context.between.placement.model.close(context_id)

    async def _move(self, context_id: str, is_dropped: bool) -> None:
        context = self._contexts.get(context_id)
        if context is None or context.between.placement is None:
            return
        await context.ended()
        with suppress(ModelLost):
            model = context.between.placement.model
            await (model.drop(context_id) if is_dropped else model.refill(context_id))

    def _context(self, turn: Turn) -> HeldContext:
        context = self._contexts.get(turn.context_id)
        if context is None:
            context = self._contexts[turn.context_id] = HeldContext(BetweenTurns(turn.context_id, turn.retention))
        context.between.retain(turn.retention)
        return context

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _was_cancelled(run: TurnRun, finish: Finish | None) -> bool:
    """By an earlier owner that died, or because nobody read it meanwhile."""
    return finish is not None and finish.reason == "cancelled" and not run.is_cancelled


def _joined(before: TurnOutput, frame: Frame) -> TurnOutput:
    return TurnOutput(before.ids + frame.ids, before.pieces + frame.pieces)


def _holes(holes: tuple[context_effects.Hole, ...]) -> tuple[Hole, ...]:
    return tuple(Hole(*hole) for hole in holes)
