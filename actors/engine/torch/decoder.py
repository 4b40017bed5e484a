"""The forward pass of a model, as an engine calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from actors.engine.adapter_files import AdapterFiles
from actors.engine.torch.attention import Attention
from actors.engine.torch.low_rank import AdaptedRows, Adapter


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
    """The modules of ``transformers`` themselves: any architecture. Adapters come in behind its linear layers."""

    def __init__(self, model: Any, adapters: Sequence[AdapterFiles] = ()) -> None:
        """Take a model, and load adapters.

        Raises:
            InvalidRequest: an adapter is not for this model.
        """
        self._model = model
        self._adapted: Sequence[AdaptedRows] = ()
        linear = dict(_linear_layers(model)) if adapters else {}
        shapes = {name: layer.weight.shape for name, layer in linear.items()}
        loaded = {files.name: Adapter.load(files, shapes, model.device, model.dtype) for files in adapters}
        for name in dict.fromkeys(name for adapter in loaded.values() for name in adapter.layers):
            linear[name].register_forward_hook(self._adds(name, loaded))

    def logits(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        wanted: Tensor,
        attention: Attention,
        adapted: Sequence[AdaptedRows] = (),
    ) -> Tensor:
        """See ``Decoder``."""
        self._adapted = adapted
        output = self._model(
            input_ids=input_ids,
            position_ids=position_ids,
            use_cache=False,
            logits_to_keep=wanted,
            attention=attention,
        )
        logits: Tensor = output.logits[0]
        return logits

    def _adds(self, name: str, adapters: Mapping[str, Adapter]) -> Callable[[Any, tuple[Tensor], Tensor], Tensor]:
        """What adds to the output of a layer, where the batch has rows of adapters for it."""

        def add(layer: Any, arguments: tuple[Tensor], output: Tensor) -> Tensor:
            target = output.flatten(0, -2)
            for rows in self._adapted:
                if (addition := adapters[rows.adapter].layers.get(name)) is not None:
                    addition.add(target, arguments[0].flatten(0, -2), rows.where)
            return target.view_as(output)

        return add


def _linear_layers(model: Any) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Those that are given all tokens: experts are not, nor is the last one, which makes logits."""
    for name, module in model.named_modules():
        is_given_all = module is not model.get_output_embeddings() and ".experts." not in name
        if isinstance(module, torch.nn.Linear) and is_given_all:
            yield name, module
