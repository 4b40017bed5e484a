"""The forward pass of a model, as an engine calls it."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from actors.engine.torch.adapted_layers import AdaptedLayers
from actors.engine.torch.attention import Attention
from actors.engine.torch.batch import Inputs
from actors.engine.torch.low_rank import Adapters


class Decoder(Protocol):
    """Computes logits of a packed batch.

    Attributes:
        has_states: it gives the sums of hidden states too.
        adapters: those that a batch's rows can be computed with.
    """

    has_states: bool
    adapters: Adapters

    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        """One forward pass: (rows, vocab), unnormalised."""
        ...

    def logits_and_sums(self, inputs: Inputs, attention: Attention) -> tuple[Tensor, Tensor]:
        """One forward pass: the same, and (summed, width), float32, of the last hidden states after their norm.

        Raises:
            Unsupported: the decoder gives none.
        """
        ...


def sums_of(hidden: Tensor, inputs: Inputs) -> Tensor:
    """(summed, width), float32.

    Args:
        hidden: (tokens, width).
    """
    return torch.stack([hidden[start:end].float().sum(0) for start, end in inputs.summed])


class TransformersDecoder(Decoder):
    """The modules of ``transformers``, which call our attention: architectures whose own does not do more."""

    has_states = True

    def __init__(self, model: Any, layers: AdaptedLayers) -> None:
        self._model = model
        self.adapters = self._layers = layers

    @override
    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        logits: Tensor = self._output(inputs, attention).logits[0]
        return logits

    @override
    def logits_and_sums(self, inputs: Inputs, attention: Attention) -> tuple[Tensor, Tensor]:
        output = self._output(inputs, attention, output_hidden_states=True)
        return output.logits[0], sums_of(output.hidden_states[-1][0], inputs)

    def _output(self, inputs: Inputs, attention: Attention, **others: Any) -> Any:
        with self._layers.adapting(inputs.adapted):
            return self._model(
                input_ids=inputs.input_ids,
                position_ids=inputs.position_ids,
                use_cache=False,
                logits_to_keep=inputs.wanted,
                attention=attention,
                **others,
            )
