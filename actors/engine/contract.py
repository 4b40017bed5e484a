"""What a model actor needs of an engine, whichever it is.

An engine is driven from one event loop: every method but ``start``, ``step`` and ``stop`` returns at once. It holds
*contexts*: token ids, and the KV cache of a prefix of them. KV may go at any time (eviction, ``drop``); the ids stay
until ``close``. All lengths are counted in tokens, all offsets start at 0.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from api.turns import Finish, Sampling, Stop, TokenLogprobs

EVICT_FIRST, EVICT_NEXT, EVICT_LAST = 0, 1, 2
"""Eviction ranks of a context: temporary or to be dropped anyway; adaptive or predictive; to be kept."""


def tokens_hash(ids: Sequence[int]) -> bytes:
    """(8,) bytes that name a token sequence; equal on every machine of one byte order."""
    return hashlib.blake2b(array("I", ids).tobytes(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine knows about its model once started."""

    engine: str
    device: str
    max_context_tokens: int
    vocab_size: int
    eos_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Admission:
    """A turn for the engine.

    Attributes:
        base_length, base_hash: what the caller believes the context holds before the turn. A longer context whose
            prefix has this hash is cut back to it (so a rollback, or a turn whose end its owner did not live to
            record, needs no call of its own); anything else is ``ContextLost``.
        tokens: appended to the context before sampling. Empty is allowed where the context is not.
        num_prior_output: the last so many of ``tokens`` are output of an earlier attempt at this turn:
            sampling goes on at this offset, and penalties and stops see them as output.
        create: make the context where it is not held; ``base_length`` is then 0. Set when all tokens are sent.
        max_context: tokens that may have KV (see ``TurnRequest.max_context``); None for the model's limit.
        eviction_rank: one of ``EVICT_FIRST``, ``EVICT_NEXT``, ``EVICT_LAST``, for the context from now on.
        is_temporary: close the context when the turn has ended.
    """

    turn_id: str
    context_id: str
    base_length: int
    base_hash: bytes
    tokens: tuple[int, ...]
    sampling: Sampling
    stop: Stop
    num_prior_output: int = 0
    create: bool = False
    max_context: int | None = None
    skip_special_tokens: bool = True
    eviction_rank: int = EVICT_LAST
    is_temporary: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """What one step added to one turn; ``pieces[i]`` is the text that ``ids[i]`` completed (see ``Frame``)."""

    turn_id: str
    ids: tuple[int, ...] = ()
    pieces: tuple[str, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: Finish | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Residency:
    """A context: its tokens, and how many of them, from the start, have KV now."""

    length: int
    num_resident: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """Load and counters of an engine; counters only grow.

    Attributes:
        num_waiting: turns admitted whose prompt has not been computed yet.
        counters: ``evictions``, ``evicted_tokens``, ``prompt_tokens``, ``resident_tokens`` (of contexts found at
            admission), ``output_tokens``, ``refills``, ``drops``, ``forks``, ``block_copies``, ``steps``.
    """

    block_size: int
    num_blocks: int
    num_free_blocks: int
    num_contexts: int
    num_running: int
    num_waiting: int
    counters: Mapping[str, int] = field(default_factory=dict)


class Engine(Protocol):
    """Runs one model; holds the KV cache of many contexts."""

    async def start(self) -> EngineInfo:
        """Load the model; may take minutes.

        Raises:
            InvalidRequest: one sentence on what is wrong with the model directory or the settings.
        """
        ...

    async def stop(self) -> None:
        """Release the device and end what runs. Idempotent."""
        ...

    def admit(self, admission: Admission) -> Residency:
        """Queue a turn; its output comes from ``step``. Returns base + tokens as length, and how much has KV.

        Raises:
            ContextLost: see ``Admission.base_hash``.
            LengthExceeded: base and tokens do not fit.
            InvalidRequest: nothing to go on from, or a token id outside the vocabulary.
            Conflict: a turn is running on this context.
            Unsupported: a sampling parameter that this engine cannot do.
            CapacityExhausted: the waiting queue is full, or the context alone is larger than the whole cache.
        """
        ...

    async def step(self) -> Sequence[Output]:
        """Advance, and return what came out; waits while there is nothing to do. One call at a time.

        A turn's outputs come in order; the last has ``finish`` or ``error``. All of a turn's ids are in the context
        when the output is returned.
        """
        ...

    def cancel(self, turn_id: str) -> None:
        """End a turn: the next step gives its last output, "cancelled". Unknown or ended: nothing happens."""
        ...

    def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> Residency:
        """A new context with the first ``length`` tokens of a source, sharing its KV; both go on independently.

        A turn may be running on the source. A target that exists with the same tokens is left as it is.

        Raises:
            ContextLost: the source is not held or its prefix is another.
        """
        ...

    def rollback(self, context_id: str, length: int) -> None:
        """Cut a context back, freeing the KV behind. Unknown: nothing happens.

        Raises:
            Conflict: a turn is running on it.
        """
        ...

    def drop(self, context_id: str) -> None:
        """Free a context's KV and keep its ids. Unknown, or a turn is running: nothing happens."""
        ...

    def refill(self, context_id: str) -> None:
        """Compute a context's missing KV in the background, behind every waiting turn. Unknown: nothing happens."""
        ...

    def close(self, context_id: str) -> None:
        """Forget a context; cancels its turn. Unknown: nothing happens."""
        ...

    def residency(self, context_id: str) -> Residency | None:
        """How much of a context is held; None where it is not."""
        ...

    def capacity(self) -> Capacity:
        """Load and counters, now."""
        ...

    def check(self) -> None:
        """Verify the engine's invariants (block reference counts against block tables, lengths, queues).

        Raises:
            AssertionError: one does not hold; a bug.
        """
        ...
