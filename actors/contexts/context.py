"""A context as its owner sees it, wherever its KV lies."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from actors.contexts.deaths import Deaths
from actors.contexts.placed import Contents, PlacedContext
from actors.contexts.retention import Retainer
from actors.contexts.run import TurnRun
from api.cluster import Retention
from api.errors import ContextLost, GreenroomError, ModelLost, Unavailable
from api.logs import event_logger
from api.turns import TurnRequest

log = event_logger("greenroom.context")


@dataclass(eq=False)
class ContextRef(PlacedContext):
    """Runs turns on a context, and keeps, drops and refills its KV between them. Belongs to one event loop.

    What it contains is its owner's to know, and said with each call. The KV is a cache of that: no call fails because
    a model actor is lost; what is missing is computed by the next turn.
    """

    _retainer: Retainer = field(init=False)
    _refilling: asyncio.Task[None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._retainer = Retainer(self.retention)

    def retain(self, retention: Retention) -> None:
        """Go by this policy from now on."""
        if retention != self.retention:
            self.retention = retention
            self._retainer = Retainer(retention)

    def message(self) -> None:
        """What the next turn is about has come."""
        self._retainer.message(time.monotonic())

    def run(self, request: TurnRequest, contents: Contents, deaths: Deaths | None = None) -> TurnRun:
        """The next turn, to be started; it computes what is missing."""
        self._stop_refilling()
        return TurnRun(self, request, contents, deaths)

    async def turn_ended(self, num_tokens: int) -> None:
        """Do with the KV what the policy says of a context of ``num_tokens`` tokens."""
        decision = self._retainer.turn_ended(num_tokens, time.monotonic())
        if decision.is_dropped:
            await self.drop()
        if self.placement and decision.refill_after_s is not None:
            self.refill(decision.refill_after_s)

    async def fork(self, target_id: str, contents: Contents) -> ContextRef:
        """The context of this id, which begins with these first tokens of this one; without KV where that fails."""
        placement = self.placement
        if placement and contents.ids:
            try:
                await placement.model.fork(self.id, target_id, len(contents.ids), contents.hash)
            except GreenroomError as error:
                log.debug("fork starts without KV", context_id=target_id, error=str(error))
                placement = None
        return replace(self, id=target_id, placement=placement)

    async def mask(self, start: int, end: int, contents: Contents) -> None:
        """Make a hole where the context is held; elsewhere it comes with the next turn.

        Raises:
            Unsupported: the engine cannot.
        """
        if self.placement:
            with suppress(ModelLost, ContextLost):
                await self.placement.model.mask(self.id, start, end, len(contents.ids), contents.hash)

    async def residency(self) -> int:
        """How many tokens have KV."""
        if self.placement:
            with suppress(ModelLost):
                residency = await self.placement.model.residency(self.id)
                return residency.num_resident if residency else 0
        return 0

    async def drop(self) -> None:
        """Free the KV."""
        if self.placement:
            with suppress(ModelLost):
                await self.placement.model.drop(self.id)

    def refill(self, after_s: float = 0.0) -> None:
        """Compute what is missing, unless a turn starts before."""
        self._stop_refilling()
        self._refilling = self.scope.start(self._refill(after_s))

    async def stop(self) -> None:
        """Leave it as it is."""
        self._stop_refilling()
        if self._refilling:
            await asyncio.gather(self._refilling, return_exceptions=True)

    def on(self, model: str) -> ContextRef:
        """The context where this model computes it; the KV that another one holds stays until this is closed."""
        if model == self.model:
            return self
        other = replace(self, model=model, placement=None)
        other._retainer = self._retainer
        return other

    async def close(self) -> None:
        """Free it."""
        await self.stop()
        placement, self.placement = self.placement, None
        if placement:
            with suppress(ModelLost, Unavailable):
                await placement.model.close(self.id)

    def _stop_refilling(self) -> None:
        if self._refilling:
            self._refilling.cancel()

    async def _refill(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self.placement:
            try:
                await self.placement.model.refill(self.id)
            except ModelLost:
                self.placement = None
