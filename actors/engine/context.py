"""A context as an engine holds it: token ids, and the blocks that hold the KV of a prefix of them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.engine.contract import EVICT_LAST, tokens_hash


@dataclass(slots=True, eq=False)
class Context:
    """Token ids and their KV.

    Attributes:
        ids: uint32 token ids: the truth.
        blocks: block numbers, in order; between steps just enough for ``num_resident`` tokens.
        num_resident: tokens, from the start, whose KV is in the blocks.
        eviction_rank: see ``Admission``.
        last_used: a counter; larger is later.
        turn_id: the turn that runs on it.
        wants_refill: its missing KV is to be computed in the background.
        version: changes when KV is taken away, so that a step in flight does not count what it computed.
        is_open: False once closed.
    """

    context_id: str
    ids: array[int] = field(default_factory=lambda: array("I"))
    blocks: list[int] = field(default_factory=list)
    num_resident: int = 0
    eviction_rank: int = EVICT_LAST
    last_used: int = 0
    turn_id: str | None = None
    wants_refill: bool = False
    version: int = 0
    is_open: bool = True

    @property
    def num_missing(self) -> int:
        """Tokens without KV."""
        return len(self.ids) - self.num_resident

    def starts_with(self, length: int, prefix_hash: bytes) -> bool:
        """Whether its first ``length`` tokens have this hash."""
        return length <= len(self.ids) and tokens_hash(self.ids[:length]) == prefix_hash

    def common_length(self, base_length: int, tokens: Sequence[int]) -> int:
        """How many of its first tokens stay when it becomes its first ``base_length`` and then ``tokens``."""
        length = base_length
        for token_id in tokens:
            if length == len(self.ids) or self.ids[length] != token_id:
                break
            length += 1
        return length
