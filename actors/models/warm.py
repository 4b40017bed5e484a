"""Contexts without a session: they keep what was asked and answered, for requests that begin with the same tokens."""

from __future__ import annotations

import math
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from actors.engine.contract import Admission, Engine, Prefix, Residency, tokens_hash
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
    comes while a turn runs on it, gets a fork of what they have in common. So does one that agrees with the context of
    a session, and a session whose context is not held here and agrees with one of these, or with another session's.
    """

    def __init__(self, engine: Engine, max_contexts: int, owner_share: float) -> None:
        self._engine = engine
        self._contexts: OrderedDict[str, WarmContext] = OrderedDict()
        self._owners: OrderedDict[str, str] = OrderedDict()
        self.configure(max_contexts, owner_share)

    def configure(self, max_contexts: int, owner_share: float) -> None:
        """Keep so many from now on; those that are too many are closed."""
        self._max_contexts = max_contexts
        self._max_of_owner = math.ceil(max_contexts * owner_share)
        for owner in {warm.owner for warm in self._contexts.values()}:
            self._close_oldest(owner)

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

    def admit_owned(self, admission: Admission) -> Residency:
        """Have a turn admitted on the context that it names, such as a session's.

        Raises:
            GreenroomError: as ``Engine.admit``.
        """
        context_id = admission.context_id
        if admission.is_temporary:
            return self._engine.admit(admission)
        is_new = admission.create and not admission.holes and self._engine.residency(context_id) is None
        is_forked = is_new and self._fork(self._closest(admission), admission, context_id)
        try:
            residency = self._engine.admit(admission)
        except GreenroomError:
            if is_forked:
                self._engine.close(context_id)
            raise
        self._owners[context_id] = admission.owner
        self._owners.move_to_end(context_id)
        while len(self._owners) > self._max_contexts:
            self._owners.popitem(last=False)
        return residency

    def _find(self, admission: Admission) -> str:
        """The context for a turn, which the engine perhaps does not hold yet."""
        prefix = self._closest(admission)
        warm = self._contexts.get(prefix.context_id) if prefix else None
        if prefix is not None and warm is not None and not admission.is_temporary:
            is_later = warm.num_prompt <= prefix.length and warm.num_prompt < len(admission.tokens)
            if warm.turn_key is None and is_later:
                return prefix.context_id
        new_id = f"warm-{uuid.uuid4().hex}"
        self._fork(prefix, admission, new_id)
        return new_id

    def _closest(self, admission: Admission) -> Prefix | None:
        """Where most of a turn's tokens are held for its owner."""
        owner, tokens, adapter = admission.owner, admission.tokens, admission.adapter
        warm = [context_id for context_id, one in reversed(self._contexts.items()) if one.owner == owner]
        owned = [context_id for context_id, one in reversed(self._owners.items()) if one == owner]
        found, other = (self._engine.closest(ids, tokens, adapter) for ids in (warm, owned))
        is_longer = other is not None and other.length > (found.length if found else 0)
        return other if is_longer and other and self._is_computed(other.context_id) else found

    def _is_computed(self, context_id: str) -> bool:
        residency = self._engine.residency(context_id)
        return residency is not None and residency.num_resident >= MIN_SHARED

    def _fork(self, prefix: Prefix | None, admission: Admission, target_id: str) -> bool:
        """Whether what a turn has in common with another context is worth it."""
        if prefix is None or prefix.length < MIN_SHARED:
            return False
        prefix_hash = tokens_hash(admission.tokens[: prefix.length])
        self._engine.fork(prefix.context_id, target_id, prefix.length, prefix_hash)
        return True

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
