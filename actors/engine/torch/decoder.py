"""The forward pass of a model, as an engine calls it."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor
from typing_extensions import override

from actors.engine.torch.adapted_layers import AdaptedLayers
from actors.engine.torch.attention import Attention
from actors.engine.torch.batch import Inputs


class Decoder(Protocol):
    """Computes logits of a packed batch."""

    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        """One forward pass: (rows, vocab), unnormalised."""
        ...


class TransformersDecoder(Decoder):
    """The modules of ``transformers``, which call our attention: architectures whose own does not do more."""

    def __init__(self, model: Any, layers: AdaptedLayers) -> None:
        self._model = model
        self._layers = layers

    @override
    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        with self._layers.adapting(inputs.adapted):
            output = self._model(
                input_ids=inputs.input_ids,
                position_ids=inputs.position_ids,
                use_cache=False,
                logits_to_keep=inputs.wanted,
                attention=attention,
            )
        logits: Tensor = output.logits[0]
        return logits
