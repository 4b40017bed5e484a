"""What a model actor needs of an engine, whichever it is.

An engine is driven from one event loop: every method but ``start``, ``step`` and ``stop`` returns at once. It holds
*contexts*: token ids, and the KV cache of a prefix of them. KV may go at any time (eviction, ``drop``); the ids stay
until ``close``. All lengths are counted in tokens, all offsets start at 0.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from actors.engine.adapter_files import AdapterFiles
from actors.engine.constraints.answers import EngineConstraint
from api.errors import UnknownAdapter, Unsupported
from api.turns import Finish, Sampling, Stop, TokenLogprobs

EVICT_FIRST, EVICT_NEXT, EVICT_LAST = 0, 1, 2
"""Eviction ranks of a context: temporary or to be dropped anyway; adaptive or predictive; to be kept."""


Feature = Literal["allowed_tokens", "constraint", "distribution", "embedding", "mask"]
"""What an engine may be unable to do: the fields of a turn of these names, and ``Engine.mask``."""


@dataclass(frozen=True, slots=True, order=True)
class Hole:
    """A hole in a context's attention: tokens from position ``since`` on do not see ``start`` to ``end``.

    Positions stay what they are. 0 <= start < end <= since.
    """

    since: int
    start: int
    end: int


def holes_within(holes: Iterable[Hole], length: int) -> tuple[Hole, ...]:
    """The holes that a context keeps when it is cut back to ``length`` tokens: those that were there by then."""
    return tuple(sorted({hole for hole in holes if hole.since <= length}))


def tokens_hash(ids: Sequence[int], holes: Iterable[Hole] = ()) -> bytes:
    """(8,) bytes that name a token sequence and its holes, in any order; equal on every machine of one byte order."""
    digest = hashlib.blake2b(array("I", ids).tobytes(), digest_size=8)
    for hole in sorted(set(holes)):
        digest.update(b"hole")
        digest.update(array("I", (hole.since, hole.start, hole.end)).tobytes())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine knows about its model once started, and what it can do; ``adapters`` are names."""

    engine: str
    device: str
    max_context_tokens: int
    vocab_size: int
    eos_ids: tuple[int, ...]
    features: frozenset[Feature] = frozenset()
    adapters: tuple[str, ...] = ()

    def require(self, feature: Feature) -> None:
        """Refuse what the engine cannot do.

        Raises:
            Unsupported: the feature is not among its ``features``.
        """
        if feature not in self.features:
            raise Unsupported(f"the {self.engine} engine does not support {feature}")

    def require_adapter(self, adapter: str | None) -> None:
        """Refuse an adapter that the model does not have.

        Raises:
            UnknownAdapter: names those that there are.
        """
        if adapter is not None and adapter not in self.adapters:
            raise UnknownAdapter.among(self.adapters, adapter)

    def with_adapter(self, name: str) -> EngineInfo:
        """The same with one more."""
        return replace(self, adapters=(*self.adapters, name))

    def without_adapter(self, name: str) -> EngineInfo:
        """The same without one."""
        return replace(self, adapters=tuple(one for one in self.adapters if one != name))


@dataclass(frozen=True, slots=True)
class Admission:
    """A turn for the engine.

    Attributes:
        base_length, base_hash: what the caller believes the context holds before the turn. A longer context whose
            prefix has this hash is cut back to it (so a rollback, or a turn whose end its owner did not live to
            record, needs no call of its own); anything else is ``ContextLost``. The hash is over the holes that
            the context then has, too.
        tokens: appended to the context before sampling. Empty is allowed where the context is not.
        num_prior_output: the last so many of ``tokens`` are output of an earlier attempt at this turn:
            sampling goes on at this offset, and penalties and stops see them as output.
        create: make the context where it is not held; ``base_length`` is then 0. Set when all tokens are sent.
        max_context: tokens that may have KV (see ``TurnRequest.max_context``); None for the model's limit.
        eviction_rank: one of ``EVICT_FIRST``, ``EVICT_NEXT``, ``EVICT_LAST``, for the context from now on.
        is_temporary: close the context when the turn has ended.
        allowed_tokens, constraint, distribution, embedding: see ``TurnRequest``; the constraint has been through
            ``Engine.prepare``.
        holes: of the context, where all of its tokens are sent (``create``); else it keeps those that it has.
        tenant: whose it is. KV may be shared between contexts of one tenant, not between tenants.
        owner: who asked for the turn; engines are fair between owners.
        adapter: what the context is computed with; None for the model alone. Of another one, its KV goes.
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
    allowed_tokens: tuple[int, ...] | None = None
    constraint: EngineConstraint | None = None
    distribution: int | None = None
    embedding: bool = False
    holes: tuple[Hole, ...] = ()
    tenant: str = ""
    owner: str = ""
    adapter: str | None = None


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
class Prefix:
    """The first ``length`` tokens of a context, at least one."""

    context_id: str
    length: int


@dataclass(frozen=True, slots=True)
class Residency:
    """A context: its tokens, and how many of them, from the start, have KV now or will never need it again."""

    length: int
    num_resident: int


COUNTERS = (
    "evictions", "evicted_tokens", "prompt_tokens", "resident_tokens", "output_tokens", "refills", "drops", "forks",
    "block_copies", "preemptions", "steps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Capacity:
    """Load and counters of an engine; counters only grow.

    Attributes:
        num_claimed_blocks: of turns, and of contexts that are to be kept. What is neither claimed nor free belongs to
            idle contexts, and goes where it is needed.
        num_waiting: turns admitted whose prompt has not been computed yet.
        counters: those of ``COUNTERS`` that the engine has; ``resident_tokens`` are of contexts found at admission.
    """

    block_size: int
    num_blocks: int
    num_free_blocks: int
    num_claimed_blocks: int
    num_contexts: int
    num_running: int
    num_waiting: int
    counters: Mapping[str, int] = field(default_factory=dict)


def tell_nobody(stage: str) -> None:
    """For a start whose stages are not shown."""


class OpenEngine(Protocol):
    """Makes an engine."""

    async def __call__(self, tell: Callable[[str], object] = tell_nobody) -> Engine:
        """An engine that has loaded its model; may take minutes.

        Args:
            tell: is given the stages of it for people to read, on the event loop.

        Raises:
            InvalidRequest: one sentence on what is wrong with the model directory or the settings.
        """
        ...


class Engine(Protocol):
    """Runs one model; holds the KV cache of many contexts.

    Attributes:
        info: what it has loaded; another one once adapters change.
    """

    info: EngineInfo

    async def stop(self) -> None:
        """Release the device and end what runs. Idempotent."""
        ...

    async def prepare(self, constraint: EngineConstraint) -> tuple[str, ...]:
        """Compile a constraint, so that ``admit`` finds it compiled; running turns go on meanwhile.

        Returns what of it the text is not held to, each in a few words: schemas of tools may have such parts.

        Raises:
            InvalidRequest: one sentence on what is wrong with it.
        """
        ...

    def admit(self, admission: Admission) -> Residency:
        """Queue a turn; its output comes from ``step``. Returns base + tokens as length, and how much has KV.

        Raises:
            ContextLost: see ``Admission.base_hash``.
            LengthExceeded: base and tokens do not fit.
            InvalidRequest: nothing to go on from, or a token id outside the vocabulary.
            UnknownAdapter: the model has no adapter of this name.
            TurnRunning: on this context.
            IdTaken: a turn of this id is running.
            Unsupported: a sampling parameter that this engine cannot do.
            CapacityExhausted: the waiting queue is full, or the context alone is larger than the whole cache.
            TooBusy: the owner has its share of the waiting queue.
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

        It has the source's adapter. A turn may be running on the source. A target that exists with the same tokens is
        left as it is.

        Raises:
            ContextLost: the source is not held or its prefix is another.
            IdTaken: the target exists with other tokens.
        """
        ...

    def closest(self, context_ids: Iterable[str], tokens: Sequence[int], adapter: str | None) -> Prefix | None:
        """Of these contexts, that begins with most of these tokens, the first of equals; None where none does.

        Those without holes and of this adapter count; a turn may be running on them.
        """
        ...

    def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        """Make a hole in a context's attention, since ``length``; KV that no later token sees is freed.

        A longer context is cut back to ``length`` first. A hole that is there already is left as it is. A context that
        has been cut back to less than ``since`` has lost the hole; what it then sees again is computed again.

        Args:
            prefix_hash: of the context's first ``length`` tokens and their holes, with this one or without.

        Raises:
            ContextLost: the context is not held, or is another; the hole goes with the next turn's ``holes``.
            InvalidRequest: not 0 <= start < end <= length.
            TurnRunning: on it.
            Unsupported: this engine cannot.
        """
        ...

    def drop(self, context_id: str) -> None:
        """Free a context's KV and keep its ids. Unknown, or a turn is running: nothing happens."""
        ...

    def refill(self, context_id: str) -> None:
        """Compute a context's missing KV in the background, after every waiting turn. Unknown: nothing happens."""
        ...

    def close(self, context_id: str) -> None:
        """Forget a context; cancels its turn. Unknown: nothing happens."""
        ...

    def residency(self, context_id: str) -> Residency | None:
        """How much of a context is held; None where it is not."""
        ...

    async def load_adapter(self, files: AdapterFiles) -> None:
        """Load an adapter under a name that no other one has now, while turns run. One call at a time.

        Raises:
            InvalidRequest: one sentence on why it cannot be served here.
            Unavailable: the engine has failed.
        """
        ...

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; unknown: nothing happens.

        Turns that run with it end with ``UnknownAdapter``. Contexts keep their ids and lose what was computed with it,
        so that another adapter which is loaded under its name never goes on from that.
        """
        ...

    def limit_owners(self, share: float) -> None:
        """Let one owner have this part of the queue from now on, and of each step while others have turns too."""
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
