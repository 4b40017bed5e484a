"""Keeps contexts' KV inside vLLM's scheduler, and gives it up by eviction rank, then least recently used.

vLLM's own prefix cache knows blocks, not contexts, and forgets the least recently used. A KV connector is its interface
for somebody who holds blocks: this one loads and saves nothing, but adds a reference to the blocks of each context when
its turn ends, and takes references back, from the ends of contexts, before vLLM would have to wait for room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)
from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats

from actors.engine.contract import EVICT_LAST
from actors.engine.vllm.orphan import end_with_parent

CONTEXT = "greenroom_context"
"""Names the context among a request's ``kv_transfer_params``."""

RANK = "greenroom_rank"
"""Names its eviction rank; without one, the request is a ``CALL``, or its context is not kept."""

CALL = "greenroom_call"
"""Names what to do: "cut" to ``LENGTH`` tokens, "drop", "close", or "fork" from ``SOURCE`` at ``LENGTH``."""

LENGTH, SOURCE = "greenroom_length", "greenroom_source"


@dataclass(slots=True)
class Held:
    """The blocks that are held for a context, from its start, all of them full."""

    rank: int
    last_used: int = 0
    blocks: list[Any] = field(default_factory=list)


class Nothing(KVConnectorMetadata):  # type: ignore[misc]
    """What vLLM's workers have to do for us."""


class Report(KVConnectorStats):  # type: ignore[misc]
    """``data``: "resident", tokens by context where that has changed; "unclaimed", blocks of idle contexts that need
    not be kept, and of nobody else; "evictions" and "evicted_tokens" since start.
    """

    def reset(self) -> None:
        """Forget it."""
        self.data: dict[str, Any] = {}

    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.data

    def aggregate(self, other: Report) -> Report:
        """The later one."""
        return other

    def reduce(self) -> dict[str, int | float]:
        """For a log."""
        return {name: value for name, value in self.data.items() if isinstance(value, int)}


class Retention(KVConnectorBase_V1):  # type: ignore[misc]
    """See above. Belongs to vLLM's scheduler; its twin in the workers does nothing."""

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self._block_size = int(vllm_config.cache_config.block_size)
        self._held: dict[str, Held] = {}
        self._running: dict[str, Any] = {}
        self._started: set[str] = set()
        self._changed: set[str] = set()
        self._clock = 0
        self._num_evictions = 0
        self._num_evicted_tokens = 0
        self._pool: Any = None
        self._num_spared = 0
        if role is KVConnectorRole.SCHEDULER:
            end_with_parent()

    @property
    def requires_kv_delivery(self) -> bool:
        """Nobody waits for what is held here."""
        return False

    def bind_gpu_block_pool(self, gpu_block_pool: Any) -> None:
        """vLLM calls this once."""
        self._pool = gpu_block_pool
        watermark = self._vllm_config.scheduler_config.watermark
        self._num_spared = int(watermark * gpu_block_pool.num_gpu_blocks)

    # Requests, as they pass through the scheduler.

    def on_new_request(self, request: Any) -> None:
        """A turn has arrived, or a call that comes as a request which is never run."""
        parameters = request.kv_transfer_params or {}
        if CALL in parameters:
            self._called(parameters)
        elif CONTEXT in parameters:
            context_id = parameters[CONTEXT]
            self._running[context_id] = request
            self._started.discard(context_id)
            if context_id in self._held:
                self._touch(self._held[context_id])
                self._changed.add(context_id)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
        """A request is about to be run: make room for it. There is never more to load."""
        context_id = (request.kv_transfer_params or {}).get(CONTEXT, "")
        held = self._held.get(context_id)
        num_there = min(num_computed_tokens // self._block_size, len(held.blocks) if held else 0)
        num_needed = self._num_blocks(request.num_tokens + 1) - num_there
        self._make_room(num_needed + self._num_wanted() + self._num_spared, for_context=context_id)
        return 0, False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """A request has its first blocks."""
        if (context_id := (request.kv_transfer_params or {}).get(CONTEXT)) is not None:
            self._started.add(context_id)

    def build_connector_meta(self, scheduler_output: Any) -> KVConnectorMetadata:
        """A step has been planned: make room for the next."""
        self._make_room(self._num_wanted())
        return Nothing()

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """Hold what the request has computed, where its context is kept; vLLM then frees its own references."""
        parameters = request.kv_transfer_params or {}
        context_id = parameters.get(CONTEXT, "")
        if CALL in parameters or self._running.get(context_id) is not request:
            return False, None
        del self._running[context_id]
        self._started.discard(context_id)
        if RANK in parameters:
            held = self._held.setdefault(context_id, Held(parameters[RANK]))
            held.rank = parameters[RANK]
            self._hold(context_id, held, self._full_blocks(request, block_ids))
        return False, None

    def get_kv_connector_stats(self) -> Report | None:
        """vLLM calls this after each step, and sends it along."""
        if not self._changed:
            return None
        resident = {
            context_id: len(self._held[context_id].blocks) * self._block_size if context_id in self._held else 0
            for context_id in self._changed
        }
        self._changed.clear()
        return Report(
            data={
                "resident": resident,
                "unclaimed": self._num_unclaimed(),
                "evictions": self._num_evictions,
                "evicted_tokens": self._num_evicted_tokens,
            }
        )

    # Calls.

    def _called(self, parameters: Mapping[str, Any]) -> None:
        context_id, call = parameters[CONTEXT], parameters[CALL]
        held = self._held.get(context_id)
        if call == "fork":
            blocks = self._blocks_of(parameters[SOURCE])[: parameters[LENGTH] // self._block_size]
            self._hold(context_id, self._held.setdefault(context_id, Held(parameters[RANK])), blocks)
        elif held is not None and call == "cut":
            self._release(held, parameters[LENGTH] // self._block_size)
        elif held is not None and call == "drop":
            self._forget(held)
            self._changed.add(context_id)
        elif held is not None and call == "close":
            self._release(held, 0)
            del self._held[context_id]

    def _blocks_of(self, context_id: str) -> list[Any]:
        """What a context has now, in its turn or between turns."""
        if context_id in self._started:
            request = self._running[context_id]
            return self._full_blocks(request, self._kv_cache_manager.get_block_ids(request.request_id)[0])
        return self._held[context_id].blocks if context_id in self._held else []

    def _full_blocks(self, request: Any, block_ids: Sequence[int]) -> list[Any]:
        full: list[Any] = []
        for block_id in block_ids[: request.num_computed_tokens // self._block_size]:
            block = self._pool.blocks[block_id]
            if block.is_null or block.block_hash is None:
                break
            full.append(block)
        return full

    # Blocks.

    def _hold(self, context_id: str, held: Held, blocks: Sequence[Any]) -> None:
        self._pool.touch(blocks)
        self._release(held, 0)
        held.blocks = list(blocks)
        self._touch(held)
        self._changed.add(context_id)

    def _release(self, held: Held, num_kept: int) -> None:
        """Leave blocks to vLLM, which may still find them until it needs them for something else."""
        self._pool.free_blocks(reversed(held.blocks[num_kept:]))
        del held.blocks[num_kept:]

    def _forget(self, held: Held) -> None:
        """Leave blocks to vLLM, and let it forget what nobody else holds."""
        self._pool.evict_blocks({block.block_id for block in held.blocks if block.ref_cnt == 1})
        self._release(held, 0)

    def _touch(self, held: Held) -> None:
        self._clock += 1
        held.last_used = self._clock

    def _num_unclaimed(self) -> int:
        idle = (held for name, held in self._held.items() if held.rank < EVICT_LAST and name not in self._running)
        holders = Counter(block.block_id for held in idle for block in held.blocks)
        return sum(self._pool.blocks[block_id].ref_cnt == number for block_id, number in holders.items())

    def _num_wanted(self) -> int:
        """Blocks that running requests may want in the next step and do not have."""
        return sum(self._num_missing(self._running[context_id]) for context_id in self._started)

    def _num_missing(self, request: Any) -> int:
        return self._num_blocks(request.num_tokens + 2) - self._num_blocks(request.num_computed_tokens)

    def _make_room(self, num_blocks: int, for_context: str = "") -> None:
        while self._pool.get_num_free_blocks() < num_blocks:
            busy = {for_context, *self._started}
            idle = [name for name, held in self._held.items() if held.blocks and name not in busy]
            if not idle:
                return
            victim = min(idle, key=lambda name: (self._held[name].rank, self._held[name].last_used))
            self._evict(victim, num_blocks)

    def _evict(self, victim: str, num_blocks: int) -> None:
        """Take blocks from a context's end until enough are free or it has none."""
        held = self._held[victim]
        num_before = len(held.blocks)
        while held.blocks and self._pool.get_num_free_blocks() < num_blocks:
            self._release(held, len(held.blocks) - 1)
        self._num_evictions += 1
        self._num_evicted_tokens += (num_before - len(held.blocks)) * self._block_size
        self._changed.add(victim)

    def _num_blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size)

    # The workers' side.

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Nothing."""

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing."""

    def wait_for_save(self) -> None:
        """Nothing."""
