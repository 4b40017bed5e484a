"""The contexts of a vLLM engine, and what vLLM holds for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actors.engine.context import Context
from actors.engine.vllm.retention import CALL, CONTEXT, LENGTH, RANK, SOURCE


class Contexts:
    """Contexts by id; ``Retention`` is told what becomes of them.

    vLLM holds whole blocks, so ``Context.num_resident`` is a multiple of the block size here. It is what was last
    reported, and what must have come of our own calls since.
    """

    def __init__(self, block_size: int, call: Callable[[Mapping[str, Any]], None]) -> None:
        self.block_size = block_size
        self._tell = call
        self._contexts: dict[str, Context] = {}

    @property
    def num_contexts(self) -> int:
        """Those that are held."""
        return len(self._contexts)

    def __iter__(self) -> Iterator[Context]:
        return iter(self._contexts.values())

    def get(self, context_id: str) -> Context | None:
        """The context of this id."""
        return self._contexts.get(context_id)

    def create(self, context_id: str) -> Context:
        """A new, empty context."""
        assert context_id not in self._contexts
        context = self._contexts[context_id] = Context(context_id)
        return context

    def in_blocks(self, num_tokens: int) -> int:
        """How many of so many tokens are in full blocks."""
        return max(0, num_tokens) // self.block_size * self.block_size

    def fork(self, source: Context, target_id: str, length: int) -> Context:
        """A new context with the first tokens of another, sharing their blocks."""
        target = self.create(target_id)
        target.ids = source.ids[:length]
        target.num_resident = self.in_blocks(min(length, source.num_resident))
        target.eviction_rank, target.tenant, target.adapter = source.eviction_rank, source.tenant, source.adapter
        self._call(target, "fork", **{SOURCE: source.context_id, LENGTH: length, RANK: target.eviction_rank})
        return target

    def cut(self, context: Context, length: int) -> None:
        """Forget the tokens from ``length`` on, and their KV."""
        del context.ids[length:]
        self.trim(context)

    def trim(self, context: Context) -> None:
        """Forget KV after the last token."""
        context.num_resident = min(context.num_resident, self.in_blocks(len(context.ids)))
        self._call(context, "cut", **{LENGTH: len(context.ids)})

    def drop(self, context: Context) -> None:
        """Free all of its KV."""
        context.num_resident = 0
        self._call(context, "drop")

    def close(self, context: Context) -> None:
        """Forget it."""
        context.is_open = False
        del self._contexts[context.context_id]
        self._call(context, "close")

    def computed(self, context: Context) -> None:
        """All of its tokens but the last have KV while its turn runs."""
        context.num_resident = max(context.num_resident, self.in_blocks(len(context.ids) - 1))

    def reported(self, resident: Mapping[str, int]) -> None:
        """What ``Retention`` says: tokens that are held, by context."""
        for context_id, num_resident in resident.items():
            context = self._contexts.get(context_id)
            if context is not None:
                context.num_resident = min(num_resident, self.in_blocks(len(context.ids)))

    def check(self) -> None:
        """Verify lengths.

        Raises:
            AssertionError: one is wrong.
        """
        for context in self:
            assert context.is_open
            assert 0 <= context.num_resident <= len(context.ids), f"lengths of {context.context_id}"
            assert context.num_resident % self.block_size == 0

    def _call(self, context: Context, call: str, **parameters: Any) -> None:
        self._tell({CALL: call, CONTEXT: context.context_id, **parameters})
