"""The forward pass of a model, as an engine calls it."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from actors.engine.attention import Attention


class Decoder(Protocol):
    """Computes logits of a packed batch."""

    def logits(self, input_ids: Tensor, position_ids: Tensor, wanted: Tensor, attention: Attention) -> Tensor:
        """One forward pass.

        Args:
            input_ids, position_ids: (1, tokens), int64.
            wanted: (rows,), int64: tokens whose logits are wanted.

        Returns:
            (rows, vocab), unnormalised.
        """
        ...


class TransformersDecoder:
    """The modules of ``transformers`` themselves: any architecture."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def logits(self, input_ids: Tensor, position_ids: Tensor, wanted: Tensor, attention: Attention) -> Tensor:
        """See ``Decoder``."""
        output = self._model(
            input_ids=input_ids,
            position_ids=position_ids,
            use_cache=False,
            logits_to_keep=wanted,
            attention=attention,
        )
        logits: Tensor = output.logits[0]
        return logits
