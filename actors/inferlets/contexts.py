"""The contexts of one inferlet by their ids, and what is left of them at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from actors.calls.ray import patiently
from actors.calls.scope import Scope
from actors.contexts.context import ContextRef
from actors.contexts.placed import Placer
from actors.contexts.reader import TurnReader
from actors.inferlets.held_context import HeldContext, contents_of
from actors.models.ref import ModelRef
from api.errors import ModelLost, Unavailable
from api.inferlet import context_effects
from api.inferlet.context_effects import Closed, Dropped, Forked, Left, Mask, Notice, Refilled, Turn

T = TypeVar("T")


class Contexts:
    """The program's own token lists are the truth; here is only where KV lies."""

    def __init__(self, placer: Placer, reader: TurnReader, timeout_s: float, owner: str, scope: Scope) -> None:
        self._placer = placer
        self._owner = owner
        self._reader = reader
        self._timeout_s = timeout_s
        self._contexts: dict[str, HeldContext] = {}
        self._scope = scope.part()

    def of(self, what: Turn | Mask) -> HeldContext:
        """The context that a program means; held from now on, until it is closed."""
        return self._held(what.context_id, what.model)

    async def resident(self, context_id: str) -> int:
        """How many tokens of a context have KV."""
        context = self._contexts.get(context_id)
        return await context.residency() if context else 0

    async def export(self, prefix: context_effects.Prefix, target_id: str) -> None:
        """Keep a copy of a context's KV under another id, as well as that goes."""
        source = self._found(prefix.context_id, prefix.model)
        await source.fork(target_id, contents_of(prefix.tokens, prefix.holes))

    async def encode(self, effect: context_effects.Encode) -> tuple[int, ...]:
        """See ``ModelRef.encode``, over the deaths of model actors."""
        last_id, after, opens_answer, tools = effect.last_id, effect.after, effect.opens_answer, effect.tools
        return await self._ask(
            effect.model, lambda model: model.encode(effect.parts, last_id, after, opens_answer, tools)
        )

    async def decode(self, effect: context_effects.Decode) -> str:
        """See ``ModelRef.decode``, over the deaths of model actors."""
        return await self._ask(effect.model, lambda model: model.decode(effect.ids, effect.skip_special_tokens))

    def tell(self, notice: Notice) -> None:
        """See ``Host.tell``."""
        match notice:
            case Forked(source_id, target_id, model, tokens, holes):
                source = self._found(source_id, model)
                self._held(target_id, model).begin_as_fork(source, contents_of(tokens, holes))
            case Left(turn):
                self.of(turn).leave(turn.request.turn_id)
            case Closed(context_id):
                if context := self._contexts.pop(context_id, None):
                    self._scope.start(context.close())
            case Dropped(context_id) | Refilled(context_id):
                if context := self._contexts.get(context_id):
                    self._scope.start(context.drop() if isinstance(notice, Dropped) else context.refill())

    async def stop(self) -> None:
        """End what runs, and leave the contexts as they are."""
        for context in self._contexts.values():
            await context.stop()
        await self._scope.close()

    async def close(self) -> None:
        """Free every context."""
        await self.stop()
        for context in self._contexts.values():
            await context.close()
        self._contexts.clear()

    async def _ask(self, model: str, question: Callable[[ModelRef], Awaitable[T]]) -> T:
        """Ask any actor of a model.

        Raises:
            Unavailable: none answers.
        """

        async def attempt() -> T:
            return await question((await self._placer.place(model, "")).model)

        try:
            return await patiently(attempt, ModelLost, self._timeout_s)
        except ModelLost:
            raise Unavailable("no model actor answers") from None

    def _held(self, context_id: str, model: str) -> HeldContext:
        context = self._contexts[context_id] = self._found(context_id, model)
        return context

    def _found(self, context_id: str, model: str) -> HeldContext:
        """The one that is held, or, where an earlier owner or another program has made it, one for this use."""
        if context := self._contexts.get(context_id):
            return context
        scope = self._scope.part()
        placed = ContextRef(self._placer, context_id, model, self._timeout_s, self._owner, scope=scope)
        return HeldContext(placed, self._reader)
