"""A check of a freshly loaded model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from actors.engine.context import Context
from actors.engine.torch.attention import PagedAttention
from actors.engine.torch.batch import pack
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.key_values import KeyValues, LayerShape
from actors.engine.torch.row import Row

_STEPS = (((0, 5), (5, 11), (11, 12)), ((0, 2), (2, 7), (7, 8)))
"""Of each text, how it is computed by and by; the texts are computed together."""

NARROW = 5
"""Tokens; a window or chunk of so many has an edge within each text."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Two short texts, and what a model makes of each by itself.

    Attributes:
        expected: (texts, vocab), float32: the logits after the last token of each.
    """

    texts: list[list[int]]
    expected: Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, model: Any, vocab_size: int) -> Probe:
        """Ask a model that uses its own attention, and no cache."""
        texts = [
            [(7919 * (i + 3 * number) + 1) % vocab_size for i in range(steps[-1][1])]
            for number, steps in enumerate(_STEPS)
        ]
        tokens = [torch.tensor([ids], dtype=torch.int64, device=model.device) for ids in texts]
        logits = [model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float() for ids in tokens]
        return cls(texts, torch.stack(logits), model.dtype)

    def agrees(self, decoder: Decoder, shapes: Mapping[int, LayerShape], block_size: int) -> bool:
        """Whether a decoder gives the same logits when it computes both texts in three steps."""
        contexts: list[Context] = []
        num_blocks = 0
        for number, ids in enumerate(self.texts):
            context = Context(f"probe {number}")
            context.ids.extend(ids)
            first, num_blocks = num_blocks, num_blocks - (-len(ids) // block_size)
            context.blocks = list(range(first, num_blocks))
            contexts.append(context)
        key_values = KeyValues(shapes, num_blocks, block_size, self.dtype, self.expected.device)
        found = self.expected
        for spans in zip(*_STEPS, strict=True):
            rows = [Row(context, *span, None, samples=True) for context, span in zip(contexts, spans, strict=True)]
            batch = pack(rows, key_values)
            logits = decoder.logits(batch.inputs, PagedAttention(batch, key_values)).float()
            found = logits[[batch.sampled.index(row) for row in rows]]
        tolerance = 1e-4 if self.dtype == torch.float32 else 0.05
        return bool(((found - self.expected).norm(dim=1) <= tolerance * self.expected.norm(dim=1)).all())
