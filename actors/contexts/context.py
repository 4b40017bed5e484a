"""What is done with a context's KV between its turns."""

from __future__ import annotations

import asyncio
import time

from actors.contexts.retention import Retainer
from actors.contexts.run import TurnRun
from actors.models.ref import Placement
from api.cluster import Retention
from api.errors import ModelLost


class BetweenTurns:
    """Keeps, drops and refills one context as its retention policy says.

    Attributes:
        placement: the model actor that the context was last on.
    """

    def __init__(self, context_id: str, retention: Retention) -> None:
        self.retention = retention
        self.placement: Placement | None = None
        self._context_id = context_id
        self._retainer = Retainer(retention)
        self._refilling: asyncio.Task[None] | None = None

    def retain(self, retention: Retention) -> None:
        """Go by this policy from now on."""
        if retention != self.retention:
            self.retention = retention
            self._retainer = Retainer(retention)

    def message(self) -> None:
        """What the next turn is about has come."""
        self._retainer.message(time.monotonic())

    def turn_starts(self) -> None:
        """The turn fills what is missing."""
        if self._refilling:
            self._refilling.cancel()

    async def turn_ended(self, run: TurnRun, num_tokens: int) -> None:
        """Do with the KV what the policy says."""
        decision = self._retainer.turn_ended(num_tokens, time.monotonic())
        self.placement = run.placement
        assert run.placement is not None, "it ran"
        try:
            if decision.is_dropped:
                await run.placement.model.drop(self._context_id)
        except ModelLost:
            return
        if decision.refill_after_s is not None:
            self.refill(decision.refill_after_s)

    def refill(self, after_s: float) -> None:
        """Compute what is missing, unless a turn starts before."""
        self.turn_starts()
        self._refilling = asyncio.create_task(self._refill(after_s))

    async def stop(self) -> None:
        """Leave it as it is."""
        if self._refilling:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)

    async def _refill(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self.placement:
            try:
                await self.placement.model.refill(self._context_id)
            except ModelLost:
                self.placement = None
