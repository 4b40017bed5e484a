"""Where ``transformers`` calls our attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from actors.engine.torch.attention import Attention
from actors.engine.torch.key_values import LayerShape

ATTENTION_NAME = "greenroom_paged"


def hooked_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    attention: Attention | None = None,
    shapes: dict[int, LayerShape] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer on one packed row.

    Args:
        query, key, value: (1, heads, tokens, width).
        attention, shapes: arguments of the forward call, which hands them through; shapes are noted where given.

    Returns:
        (1, tokens, query heads, value width).
    """
    assert attention is not None, "the forward pass must be given its attention"
    layer = module.layer_idx
    if shapes is not None:
        shapes[layer] = LayerShape(key.shape[1], key.shape[3], value.shape[3])
    joined = torch.cat([key[0].transpose(0, 1).flatten(1), value[0].transpose(0, 1).flatten(1)], dim=-1)
    attention.store(layer, joined)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attention.read(layer, query[0], scale, sliding_window, softcap).unsqueeze(0), None


def register_attention() -> None:
    """Make it known to ``transformers`` under ``ATTENTION_NAME``."""
    AttentionInterface.register(ATTENTION_NAME, hooked_attention)
