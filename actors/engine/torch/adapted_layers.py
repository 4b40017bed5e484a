"""Adapters after the linear layers of a ``transformers`` model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from actors.engine.adapter_files import AdapterFiles
from actors.engine.torch.low_rank import AdaptedRows, Adapter


class AdaptedLayers:
    """The linear layers of a model, which add what adapters say to the rows of a forward pass."""

    def __init__(self, model: Any, adapters: Sequence[AdapterFiles] = ()) -> None:
        """Take a model, and load adapters.

        Raises:
            InvalidRequest: an adapter is not for this model.
        """
        self._adapted: Sequence[AdaptedRows] = ()
        linear = dict(_linear_layers(model)) if adapters else {}
        shapes = {name: layer.weight.shape for name, layer in linear.items()}
        loaded = {files.name: Adapter.load(files, shapes, model.device, model.dtype) for files in adapters}
        for name in dict.fromkeys(name for adapter in loaded.values() for name in adapter.layers):
            linear[name].register_forward_hook(self._adds(name, loaded))

    @contextmanager
    def adapting(self, adapted: Sequence[AdaptedRows]) -> Iterator[None]:
        """Forward passes within have these rows of adapters."""
        self._adapted = adapted
        try:
            yield
        finally:
            self._adapted = ()

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
