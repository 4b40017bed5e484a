"""The forward pass of a model, as an engine calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from actors.engine.torch.adapted_layers import AdaptedLayers
from actors.engine.torch.attention import Attention
from actors.engine.torch.low_rank import AdaptedRows


class Decoder(Protocol):
    """Computes logits of a packed batch."""

    def logits(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        wanted: Tensor,
        attention: Attention,
        adapted: Sequence[AdaptedRows] = (),
    ) -> Tensor:
        """One forward pass.

        Args:
            input_ids, position_ids: (1, tokens), int64.
            wanted: (rows,), int64: tokens whose logits are wanted.
            adapted: the tokens of each adapter; those of none are the model's alone.

        Returns:
            (rows, vocab), unnormalised.
        """
        ...


class TransformersDecoder:
    """The modules of ``transformers``, which call our attention: architectures whose own does not do more."""

    def __init__(self, model: Any, layers: AdaptedLayers) -> None:
        self._model = model
        self._layers = layers

    def logits(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        wanted: Tensor,
        attention: Attention,
        adapted: Sequence[AdaptedRows] = (),
    ) -> Tensor:
        """See ``Decoder``."""
        with self._layers.adapting(adapted):
            output = self._model(
                input_ids=input_ids,
                position_ids=position_ids,
                use_cache=False,
                logits_to_keep=wanted,
                attention=attention,
            )
        logits: Tensor = output.logits[0]
        return logits
