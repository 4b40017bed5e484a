"""Contexts that nobody owns: they keep what was asked and answered, for requests that begin with the same tokens."""

from __future__ import annotations

import math
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from actors.engine.contract import Engine, tokens_hash
from api.errors import GreenroomError

MIN_SHARED = 16
"""Tokens that are worth a fork."""


@dataclass(slots=True)
class WarmContext:
    """One of them.

    Attributes:
        num_prompt: tokens of its last turn's prompt; what comes after them is the answer.
        turn_key: the turn that runs on it; None while it is idle.
    """

    owner: str
    num_prompt: int
    turn_key: str | None


class WarmContexts:
    """The warm contexts of one engine: the least recently used ones are closed beyond ``max_contexts``, and those of
    one owner beyond its share. No owner begins from what another one holds.

    A request that goes on after a context's last answer takes the context over. One that parts from it before, or
    comes while a turn runs on it, gets a fork of what they have in common.
    """

    def __init__(self, engine: Engine, max_contexts: int, owner_share: float) -> None:
        self._engine = engine
        self._max_contexts = max_contexts
        self._max_of_owner = math.ceil(max_contexts * owner_share)
        self._contexts: OrderedDict[str, WarmContext] = OrderedDict()

    def find(self, owner: str, tokens: Sequence[int], adapter: str | None, is_temporary: bool) -> str:
        """The context for a turn with these tokens, which the engine may not hold yet.

        Args:
            is_temporary: the context is closed when the turn has ended, so none is taken over.
        """
        mine = [context_id for context_id, warm in reversed(self._contexts.items()) if warm.owner == owner]
        prefix = self._engine.closest(mine, tokens, adapter)
        if prefix is not None and not is_temporary:
            warm = self._contexts[prefix.context_id]
            if warm.turn_key is None and warm.num_prompt <= prefix.length and warm.num_prompt < len(tokens):
                return prefix.context_id
        new_id = f"warm-{uuid.uuid4().hex}"
        if prefix is not None and prefix.length >= MIN_SHARED:
            try:
                self._engine.fork(prefix.context_id, new_id, prefix.length, tokens_hash(tokens[: prefix.length]))
            except GreenroomError:
                return new_id
        return new_id

    def refused(self, context_id: str) -> None:
        """The turn was not admitted: forget what was forked for it."""
        if context_id not in self._contexts:
            self._engine.close(context_id)

    def admitted(self, context_id: str, owner: str, num_prompt: int, turn_key: str) -> None:
        """A turn runs on the context, which stays."""
        self._contexts[context_id] = WarmContext(owner, num_prompt, turn_key)
        self._contexts.move_to_end(context_id)
        mine = [one for one, warm in self._contexts.items() if warm.owner == owner]
        self._close_oldest(mine, len(mine) - self._max_of_owner)
        self._close_oldest(list(self._contexts), len(self._contexts) - self._max_contexts)

    def ended(self, turn_key: str) -> None:
        """The turn has ended, if it ran on one of these."""
        for warm in self._contexts.values():
            if warm.turn_key == turn_key:
                warm.turn_key = None

    def _close_oldest(self, context_ids: Sequence[str], num_too_many: int) -> None:
        for context_id in context_ids:
            if num_too_many <= 0:
                return
            if self._contexts[context_id].turn_key is None:
                del self._contexts[context_id]
                self._engine.close(context_id)
                num_too_many -= 1
