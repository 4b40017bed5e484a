"""A context as an engine holds it: token ids, and the blocks that hold the KV of a prefix of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from actors.engine.contract import EVICT_LAST, Hole, Prefix, Residency, holes_within, tokens_hash
from actors.engine.visibility import Visibility, held
from api.errors import ContextLost, IdTaken


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
        visibility: its holes; None without any, and then no block in the table is ``FREED``.
        tenant: whose it is, where an engine may share KV between contexts by itself.
        adapter: what its KV is computed with; None for the model alone.
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
    visibility: Visibility | None = None
    tenant: str = ""
    adapter: str | None = None

    @property
    def num_missing(self) -> int:
        """Tokens without KV."""
        return len(self.ids) - self.num_resident

    @property
    def residency(self) -> Residency:
        """How much of it is held."""
        return Residency(len(self.ids), self.num_resident)

    @property
    def num_held(self) -> int:
        """Blocks that it holds."""
        return len(self.blocks) if self.visibility is None else len(held(self.blocks))

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The holes in its attention, sorted."""
        return () if self.visibility is None else self.visibility.holes

    def starts_with(self, length: int, prefix_hash: bytes, without: Hole | None = None) -> bool:
        """Whether its first ``length`` tokens and their holes have this hash, or would without a hole."""
        if length > len(self.ids):
            return False
        ids, holes = self.ids[:length], holes_within(self.holes, length)
        if tokens_hash(ids, holes) == prefix_hash:
            return True
        return without in holes and tokens_hash(ids, [hole for hole in holes if hole != without]) == prefix_hash

    def common_length(self, base_length: int, tokens: Sequence[int]) -> int:
        """How many of its first tokens stay when it becomes its first ``base_length`` and then ``tokens``."""
        length = base_length
        for token_id in tokens:
            if length == len(self.ids) or self.ids[length] != token_id:
                break
            length += 1
        return length


class Contexts(Protocol):
    """What is forked here: an engine's contexts."""

    def get(self, context_id: str) -> Context | None:
        """The context of this id."""
        ...

    def fork(self, source: Context, target_id: str, length: int) -> Context:
        """A new context with the first tokens of another."""
        ...


def forked(contexts: Contexts, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> Residency:
    """See ``Engine.fork``."""
    target, source = contexts.get(target_id), contexts.get(source_id)
    if target is not None and len(target.ids) == length and target.starts_with(length, prefix_hash):
        return target.residency
    if source is None or not source.starts_with(length, prefix_hash):
        raise ContextLost(source_id)
    if target is not None:
        raise IdTaken(f"context {target_id!r} exists with other tokens")
    return contexts.fork(source, target_id, length).residency


def closest(contexts: Iterable[Context | None], tokens: Sequence[int], adapter: str | None) -> Prefix | None:
    """See ``Engine.closest``."""
    wanted = array("I", tokens)
    found: Prefix | None = None
    for context in contexts:
        if context is None or context.visibility is not None or context.adapter != adapter:
            continue
        enough = found.length + 1 if found else 1
        if len(context.ids) >= enough <= len(wanted) and context.ids[:enough] == wanted[:enough]:
            found = Prefix(context.context_id, _num_common(context.ids, wanted, enough))
    return found


def _num_common(left: array[int], right: array[int], num_equal: int) -> int:
    """How many numbers at the start are equal; the first ``num_equal`` are known to be."""
    low, high = num_equal, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
