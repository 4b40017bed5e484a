"""Drives an engine by hand, step by step."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.engine.contract import Admission, Engine, Hole, Output, Residency, holes_within, tokens_hash
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.torch.engine import TorchEngine, TorchSettings
from api.turns import Finish, Sampling, Stop, TokenLogprobs

BLOCK = 4
BLOCK_BYTES = BLOCK * 2 * 2 * 2 * 32 * 4
"""Tokens, layers, keys and values, heads, width, bytes of a number: of the tiny checkpoints."""


async def start_engine(path: Path, **settings: Any) -> TorchEngine:
    """A started engine with small blocks and 64 of them, that steps when it is told to."""
    defaults = {"device": "cpu", "block_size": BLOCK, "kv_cache_bytes": 64 * BLOCK_BYTES, "num_threads": 1}
    defaults |= {"steps_ahead": 0}
    return await TorchEngine.open(TorchSettings(model_path=path, **{**defaults, **settings}), Tokenizer.load(path))


def prompt(length: int, seed: int = 0) -> list[int]:
    """Random ids, none of them special."""
    return random.Random(length * 1000 + seed).choices(range(3, 384), k=length)


class Driver:
    """Contexts and turns of one engine, with what each turn gave.

    Args:
        whole_blocks: tokens in a block of an engine that keeps only whole ones; else 1.
        max_context: the model's limit, in tokens, on this engine.

    Attributes:
        tenant: whose the contexts are; nothing is shared with those of another driver.
    """

    def __init__(self, engine: Engine, whole_blocks: int = 1, max_context: int = 256) -> None:
        self.engine = engine
        self.max_context = max_context
        self.tenant = secrets.token_hex(4)
        self._whole_blocks = whole_blocks
        self._counters = dict(engine.capacity().counters)
        self.ids: dict[str, list[int]] = {}
        self.holes: dict[str, tuple[Hole, ...]] = {}
        self.outputs: dict[str, list[Output]] = {}
        self._contexts: dict[str, str] = {}

    def begin(
        self,
        context_id: str,
        tokens: Sequence[int],
        num_tokens: int = 8,
        turn_id: str | None = None,
        sampling: Sampling | None = None,
        stop: Stop | None = None,
        **others: Any,
    ) -> Residency:
        """Admit a turn on what the driver believes the context holds."""
        turn_id = turn_id or context_id
        held = self.ids.get(context_id, [])
        admission = Admission(
            turn_id=turn_id,
            context_id=context_id,
            base_length=len(held),
            base_hash=tokens_hash(held, self.holes.get(context_id, ())),
            tokens=tuple(tokens),
            sampling=sampling or Sampling(),
            stop=stop or Stop(max_tokens=num_tokens, at_eos=False),
            create=not held,
            **({"tenant": self.tenant} | others),
        )
        residency = self.engine.admit(admission)
        self.ids[context_id] = [*held, *tokens]
        self.outputs[turn_id] = []
        self._contexts[turn_id] = context_id
        return residency

    async def step(self) -> Sequence[Output]:
        """One step, noted, with the engine's invariants checked behind it."""
        outputs = await self.engine.step()
        for output in outputs:
            self.outputs[output.turn_id].append(output)
            self.ids[self._contexts[output.turn_id]].extend(output.ids)
        self.engine.check()
        return outputs

    async def finish(self, *turn_ids: str) -> None:
        """Step until these turns have ended."""
        while not all(self.has_ended(turn_id) for turn_id in turn_ids):
            await self.step()

    async def run(self, context_id: str, tokens: Sequence[int], num_tokens: int = 8, **others: Any) -> list[int]:
        """A whole turn; its ids."""
        turn_id = others.get("turn_id") or context_id
        self.begin(context_id, tokens, num_tokens, **others)
        await self.finish(turn_id)
        return self.output_ids(turn_id)

    def fork(self, source_id: str, target_id: str, length: int) -> Residency:
        """Fork a context at a length."""
        prefix = self.ids[source_id][:length]
        self.ids[target_id] = list(prefix)
        self.holes[target_id] = holes_within(self.holes.get(source_id, ()), length)
        return self.engine.fork(source_id, target_id, length, tokens_hash(prefix, self.holes[target_id]))

    def mask(self, context_id: str, start: int, end: int) -> None:
        """Make a hole at a context's present length."""
        ids, holes = self.ids[context_id], self.holes.get(context_id, ())
        self.engine.mask(context_id, start, end, len(ids), tokens_hash(ids, holes))
        self.holes[context_id] = (*holes, Hole(len(ids), start, end))

    def rollback(self, context_id: str, length: int) -> None:
        """Cut a context back: the engine learns it from the base of the next call."""
        self.ids[context_id] = self.ids[context_id][:length]
        self.holes[context_id] = holes_within(self.holes.get(context_id, ()), length)

    def is_running(self, context_id: str) -> bool:
        """Whether a turn runs on a context."""
        return any(of == context_id and not self.has_ended(turn_id) for turn_id, of in self._contexts.items())

    def counter(self, name: str) -> int:
        """By how much a counter of the engine has grown."""
        return self.engine.capacity().counters.get(name, 0) - self._counters.get(name, 0)

    def resident(self, context_id: str) -> int:
        """Tokens of a context that have KV."""
        residency = self.engine.residency(context_id)
        assert residency is not None
        return residency.num_resident

    def residency(self, length: int, num_resident: int) -> Residency:
        """What ``Engine.residency`` is expected to give where so many tokens have been computed."""
        return Residency(length, num_resident // self._whole_blocks * self._whole_blocks)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let the engine work until something is so."""
        async with asyncio.timeout(20):
            while not is_so():
                await self._work()

    async def _work(self) -> None:
        """A step, which an engine takes by itself where nobody has asked for its output."""
        await asyncio.sleep(0.002)

    def has_ended(self, turn_id: str) -> bool:
        """Whether a turn's last output has come."""
        outputs = self.outputs[turn_id]
        return bool(outputs) and (outputs[-1].finish is not None or outputs[-1].error is not None)

    def output_ids(self, turn_id: str) -> list[int]:
        """All ids that a turn gave."""
        return [token_id for output in self.outputs[turn_id] for token_id in output.ids]

    def text(self, turn_id: str) -> str:
        """All text that a turn gave."""
        finish = self.finish_of(turn_id)
        return "".join(piece for output in self.outputs[turn_id] for piece in output.pieces) + finish.tail

    def logprobs(self, turn_id: str) -> list[TokenLogprobs]:
        """All log-probabilities that a turn gave."""
        return [entry for output in self.outputs[turn_id] for entry in output.logprobs]

    def finish_of(self, turn_id: str) -> Finish:
        """How a turn ended."""
        finish = self.outputs[turn_id][-1].finish
        assert finish is not None
        return finish

    def num_free_blocks(self) -> int:
        """Blocks that nobody holds."""
        return self.engine.capacity().num_free_blocks


class TorchDriver(Driver):
    """The same for the torch engine, which steps when it is told to."""

    engine: TorchEngine

    async def _work(self) -> None:
        await self.step()
