"""All contexts of an engine, and the blocks between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence

from actors.engine.context import Context
from actors.engine.contract import EVICT_LAST, Hole, holes_within
from actors.engine.torch.blocks import BlockPool
from actors.engine.visibility import FREED, Visibility, held


class ContextStore:
    """Contexts by id; shares, grows, cuts and evicts their blocks.

    Blocks are shared between forks and copied when one of them writes: ``copies`` collects the (source, target)
    pairs that the next step has to copy before it computes. A block that no later token sees is freed before the
    others of its context, and computed again where a rollback makes it visible.
    """

    def __init__(self, num_blocks: int, block_size: int, counters: Counter[str]) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size = block_size
        self.copies: list[tuple[int, int]] = []
        self._contexts: dict[str, Context] = {}
        self._counters = counters
        self._clock = 0

    @property
    def num_contexts(self) -> int:
        """Those that are held."""
        return len(self._contexts)

    def __iter__(self) -> Iterator[Context]:
        return iter(self._contexts.values())

    @property
    def num_tokens(self) -> int:
        """Tokens whose KV fits."""
        return self.pool.num_blocks * self.block_size

    @property
    def num_claimed(self) -> int:
        """Blocks of contexts that are in use, or to be kept: each counted once, however many share it."""
        claiming = (one for one in self if one.turn_id is not None or one.eviction_rank == EVICT_LAST)
        return len({block for context in claiming for block in held(context.blocks)})

    def get(self, context_id: str) -> Context | None:
        """The context of this id."""
        return self._contexts.get(context_id)

    def create(self, context_id: str) -> Context:
        """A new, empty context."""
        assert context_id not in self._contexts
        context = self._contexts[context_id] = Context(context_id)
        self.touch(context)
        return context

    def touch(self, context: Context) -> None:
        """Make it the one that was used last."""
        self._clock += 1
        context.last_used = self._clock

    def fork(self, source: Context, target_id: str, length: int) -> Context:
        """A new context with the first tokens of another, sharing their blocks."""
        target = self.create(target_id)
        target.ids = source.ids[:length]
        target.num_resident = min(length, source.num_resident)
        target.blocks = source.blocks[: self._num_blocks(target.num_resident)]
        target.eviction_rank = source.eviction_rank
        target.visibility, target.adapter = source.visibility, source.adapter
        self.pool.share(held(target.blocks))
        self.set_holes(target, holes_within(source.holes, length))
        self._counters["forks"] += 1
        return target

    def cut(self, context: Context, length: int) -> None:
        """Forget the tokens from ``length`` on, their KV, and the holes made after them."""
        del context.ids[length:]
        self.keep_resident(context, min(length, context.num_resident))
        self.set_holes(context, holes_within(context.holes, length))

    def set_holes(self, context: Context, holes: Sequence[Hole]) -> None:
        """Give it these holes; KV stays as far as it was computed with the same."""
        if context.visibility is None and not holes:
            return
        agreed = min((hole.since for hole in {*context.holes} ^ {*holes}), default=context.num_resident)
        context.visibility = Visibility(holes, self.block_size)
        self.keep_resident(context, min(agreed, context.num_resident))
        if not holes:
            context.visibility = None

    def keep_resident(self, context: Context, num_resident: int) -> None:
        """Free the blocks that the first ``num_resident`` tokens do not need; fewer tokens, where theirs are gone."""
        if context.visibility is not None:
            num_resident = context.visibility.num_usable(context.blocks, num_resident)
        num_kept = self._num_blocks(num_resident)
        context.num_resident = num_resident
        context.version += 1
        self.pool.release(held(context.blocks[num_kept:]))
        del context.blocks[num_kept:]

    def free_hidden(self, context: Context) -> None:
        """Free the blocks in its holes that nothing computed from now on sees."""
        if context.visibility is None:
            return
        for index in context.visibility.hidden_blocks(context.num_resident):
            if context.blocks[index] != FREED:
                self.pool.release([context.blocks[index]])
                context.blocks[index] = FREED

    def fits(self, num_tokens: int, holes: Sequence[Hole]) -> bool:
        """Whether a context of so many tokens can be computed from its start when all blocks are its own."""
        if num_tokens <= self.num_tokens or not holes:
            return num_tokens <= self.num_tokens
        return Visibility(holes, self.block_size).most_blocks(num_tokens) <= self.pool.num_blocks

    def room(self, context: Context) -> int:
        """Tokens that it can have when all blocks are its own."""
        hidden = [] if context.visibility is None else context.visibility.hidden_blocks(len(context.ids))
        return self.num_tokens + len(hidden) * self.block_size

    def close(self, context: Context) -> None:
        """Forget it."""
        self.keep_resident(context, 0)
        context.is_open = False
        del self._contexts[context.context_id]

    def grow(self, context: Context, length: int, in_use: Container[Context], max_rank: int = EVICT_LAST) -> bool:
        """Make the blocks of the first ``length`` tokens writable from ``num_resident`` on.

        Evicts contexts on which no turn runs, which are not ``in_use``, up to ``max_rank``; False where that is not
        enough, and then nothing has been taken for this context.
        """
        first = context.num_resident // self.block_size
        num_needed = self._num_blocks(length)
        if first + 1 == num_needed == len(context.blocks) and not self.pool.is_shared(context.blocks[first]):
            return True
        shared = [i for i in range(first, len(context.blocks)) if self.pool.is_shared(context.blocks[i])]
        num_wanted = num_needed - len(context.blocks) + len(shared)
        while self.pool.num_free < num_wanted:
            victim = self._next_victim(context, in_use, max_rank)
            if victim is None:
                return False
            self._evict(victim, num_wanted)
            shared = [i for i in shared if self.pool.is_shared(context.blocks[i])]
            num_wanted = num_needed - len(context.blocks) + len(shared)
        for i in shared:
            self._copy_block(context, i)
        while len(context.blocks) < num_needed:
            context.blocks.append(self.pool.allocate(context.blocks[-1] if context.blocks else None))
        return True

    def check(self, is_step_in_flight: bool) -> None:
        """Verify lengths and block tables.

        Raises:
            AssertionError: one is wrong.
        """
        self.pool.check(held(context.blocks) for context in self)
        for context in self:
            assert context.is_open
            assert 0 <= context.num_resident <= len(context.ids), f"lengths of {context.context_id}"
            if context.visibility is not None:
                num_usable = context.visibility.num_usable(context.blocks, context.num_resident)
                assert num_usable == context.num_resident, f"{context.context_id} has freed what it needs"
            else:
                assert FREED not in context.blocks, f"{context.context_id} has no holes, but freed a block"
            num_needed = self._num_blocks(context.num_resident)
            assert len(context.blocks) >= num_needed, f"{context.context_id} has too few blocks"
            assert is_step_in_flight or len(context.blocks) == num_needed, f"{context.context_id} has too many blocks"

    def _next_victim(self, context: Context, in_use: Container[Context], max_rank: int) -> Context | None:
        candidates = (
            other
            for other in self
            if other.blocks
            and other.turn_id is None
            and other is not context
            and other.eviction_rank <= max_rank
            and other not in in_use
        )
        return min(candidates, key=lambda other: (other.eviction_rank, other.last_used), default=None)

    def _evict(self, victim: Context, num_wanted: int) -> None:
        """Take blocks from a context's end until enough are free or it has none."""
        num_before = victim.num_resident
        num_kept = len(victim.blocks)
        num_free = self.pool.num_free
        while num_kept and num_free < num_wanted:
            num_kept -= 1
            block = victim.blocks[num_kept]
            num_free += block != FREED and not self.pool.is_shared(block)
        self.keep_resident(victim, min(num_before, num_kept * self.block_size))
        victim.wants_refill = False
        self._counters["evictions"] += 1
        self._counters["evicted_tokens"] += num_before - victim.num_resident

    def _copy_block(self, context: Context, index: int) -> None:
        source, target = context.blocks[index], self.pool.allocate()
        self.copies.append((source, target))
        context.blocks[index] = target
        self.pool.release([source])
        self._counters["block_copies"] += 1

    def _num_blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)
