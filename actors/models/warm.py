"""Contexts without a session: they keep what was asked and answered, for requests that begin with the same tokens."""

from __future__ import annotations

import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from actors.engine.contract import Admission, Engine, Residency, tokens_hash
from api.errors import GreenroomError

MIN_SHARED = 16
"""Tokens that are worth a fork."""


@dataclass(slots=True)
class WarmContext:
    """One of them.

    Attributes:
        num_prompt: tokens of its last turn's prompt; what comes after them is the answer.
        turn_key: the turn that runs on it; None while it is idle.
        kept_until: of ``time.monotonic``.
    """

    owner: str
    num_prompt: int
    turn_key: str | None
    kept_until: float


class WarmContexts:
    """The warm contexts of one engine: the least recently used ones are closed beyond ``max_contexts``, and those of
    one owner beyond its share, those that are to be kept after the others. No owner begins from what another one holds.

    A request that goes on after a context's last answer takes the context over. One that parts from it before, or
    comes while a turn runs on it, gets a fork of what they have in common.
    """

    def __init__(self, engine: Engine, max_contexts: int, owner_share: float) -> None:
        self._engine = engine
        self._max_contexts = max_contexts
        self._max_of_owner = math.ceil(max_contexts * owner_share)
        self._contexts: OrderedDict[str, WarmContext] = OrderedDict()

    def admit(self, admission: Admission, keep_s: float = 0.0) -> Residency:
        """Have a turn admitted that brings all of its tokens; whether it is temporary, its admission says.

        Args:
            keep_s: for so long its context is to be kept, where others may go.

        Raises:
            GreenroomError: as ``Engine.admit``.
        """
        context_id = self._find(admission)
        try:
            residency = self._engine.admit(replace(admission, context_id=context_id))
        except GreenroomError:
            if context_id not in self._contexts:
                self._engine.close(context_id)
            raise
        if not admission.is_temporary:
            num_prompt = len(admission.tokens) - admission.num_prior_output
            known, kept_until = self._contexts.get(context_id), time.monotonic() + keep_s
            kept_until = max(kept_until, known.kept_until) if known else kept_until
            self._contexts[context_id] = WarmContext(admission.owner, num_prompt, admission.turn_id, kept_until)
            self._contexts.move_to_end(context_id)
            self._close_oldest(admission.owner)
        return residency

    def _find(self, admission: Admission) -> str:
        """The context for a turn, which the engine perhaps does not hold yet."""
        tokens = admission.tokens
        mine = [id for id, warm in reversed(self._contexts.items()) if warm.owner == admission.owner]
        prefix = self._engine.closest(mine, tokens, admission.adapter)
        if prefix is not None and not admission.is_temporary:
            warm = self._contexts[prefix.context_id]
            if warm.turn_key is None and warm.num_prompt <= prefix.length and warm.num_prompt < len(tokens):
                return prefix.context_id
        new_id = f"warm-{uuid.uuid4().hex}"
        if prefix is not None and prefix.length >= MIN_SHARED:
            self._engine.fork(prefix.context_id, new_id, prefix.length, tokens_hash(tokens[: prefix.length]))
        return new_id

    def ended(self, turn_key: str) -> None:
        """The turn has ended, if it ran on one of these."""
        for warm in self._contexts.values():
            if warm.turn_key == turn_key:
                warm.turn_key = None

    def _close_oldest(self, owner: str) -> None:
        """Close idle ones until the owner, and all together, have no more than they may."""
        self._close([id for id, warm in self._contexts.items() if warm.owner == owner], self._max_of_owner)
        self._close(list(self._contexts), self._max_contexts)

    def _close(self, context_ids: Sequence[str], limit: int) -> None:
        now = time.monotonic()
        idle = [context_id for context_id in context_ids if self._contexts[context_id].turn_key is None]
        idle.sort(key=lambda context_id: self._contexts[context_id].kept_until > now)
        for context_id in idle[: max(0, len(context_ids) - limit)]:
            del self._contexts[context_id]
            self._engine.close(context_id)
