"""A check of a freshly loaded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from actors.engine.context import Context
from actors.engine.torch.attention import DenseAttention, PagedAttention
from actors.engine.torch.attention_hook import ATTENTION_NAME
from actors.engine.torch.batch import pack
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.key_values import KeyValues, LayerShape
from actors.engine.torch.row import Row
from api.errors import InvalidRequest

_NUM_TOKENS = 12
_STEPS = ((0, 5), (5, 11), (11, 12))


@dataclass(frozen=True, slots=True)
class Probe:
    """A short text, what a model makes of it by itself, and the shapes of its layers.

    Attributes:
        expected: (vocab,), float32: the logits behind the last token.
    """

    ids: list[int]
    expected: Tensor
    shapes: dict[int, LayerShape]
    dtype: torch.dtype

    @classmethod
    def of(cls, model: Any, vocab_size: int) -> Probe:
        """Ask a model that uses its own attention, and switch it to ours.

        Raises:
            InvalidRequest: it does not work with ours.
        """
        ids = [(7919 * i + 1) % vocab_size for i in range(_NUM_TOKENS)]
        tokens = torch.tensor([ids], dtype=torch.int64, device=model.device)
        positions = torch.arange(_NUM_TOKENS, device=model.device).unsqueeze(0)
        expected = model(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[0, -1].float()
        model.set_attn_implementation(ATTENTION_NAME)
        shapes: dict[int, LayerShape] = {}
        try:
            attention = DenseAttention(shapes)
            model(input_ids=tokens, position_ids=positions, use_cache=False, attention=attention, shapes=shapes)
        except (RuntimeError, TypeError, AttributeError, AssertionError, IndexError) as error:
            raise InvalidRequest(f"the torch engine cannot run a {type(model).__name__}: {error}") from error
        if not shapes:
            raise InvalidRequest(f"the torch engine cannot run a {type(model).__name__}: it has no attention of ours")
        return cls(ids, expected, shapes, model.dtype)

    def agrees(self, decoder: Decoder, block_size: int) -> bool:
        """Whether a decoder gives the same logits when it computes the text in three steps."""
        num_blocks = -(-len(self.ids) // block_size)
        context = Context("probe")
        context.ids.extend(self.ids)
        context.blocks = list(range(num_blocks))
        key_values = KeyValues(self.shapes, num_blocks, block_size, self.dtype, self.expected.device)
        found = self.expected
        for start, end in _STEPS:
            batch = pack([Row(context, start, end, None, samples=True)], key_values)
            attention = PagedAttention(batch, key_values)
            found = decoder.logits(batch.input_ids, batch.position_ids, batch.sampled_index, attention)[-1].float()
        tolerance = 1e-3 if self.dtype == torch.float32 else 0.05
        return bool((found - self.expected).norm() <= tolerance * self.expected.norm())
