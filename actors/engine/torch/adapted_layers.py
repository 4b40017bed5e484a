"""Adapters after the linear layers of a ``transformers`` model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from actors.engine.adapter_files import AdapterFiles
from actors.engine.torch.low_rank import AdaptedRows, Adapter, Adapters


class AdaptedLayers(Adapters):
    """The linear layers of a model, which add what adapters say to the rows of a forward pass."""

    def __init__(self, model: Any, adapters: Sequence[AdapterFiles] = ()) -> None:
        """Take a model, and load adapters.

        Raises:
            InvalidRequest: an adapter is not for this model.
        """
        self._adapted: Sequence[AdaptedRows] = ()
        self._device, self._dtype = model.device, model.dtype
        self._linear = dict(_linear_layers(model))
        self._loaded: dict[str, Adapter] = {}
        self._hooks: dict[str, Any] = {}
        for files in adapters:
            self.prepare(files)()

    @override
    def prepare(self, files: AdapterFiles) -> Callable[[], object]:
        shapes = {name: layer.weight.shape for name, layer in self._linear.items()}
        return partial(self._put, Adapter.load(files, shapes, self._device, self._dtype))

    @override
    def remove(self, name: str) -> None:
        del self._loaded[name]
        in_use = {layer for adapter in self._loaded.values() for layer in adapter.layers}
        for layer in self._hooks.keys() - in_use:
            self._hooks.pop(layer).remove()

    @contextmanager
    def adapting(self, adapted: Sequence[AdaptedRows]) -> Iterator[None]:
        """Forward passes within have these rows of adapters."""
        self._adapted = adapted
        try:
            yield
        finally:
            self._adapted = ()

    def _put(self, adapter: Adapter) -> None:
        self._loaded[adapter.name] = adapter
        for layer in adapter.layers.keys() - self._hooks.keys():
            self._hooks[layer] = self._linear[layer].register_forward_hook(self._adds(layer))

    def _adds(self, name: str) -> Callable[[Any, tuple[Tensor], Tensor], Tensor]:
        """What adds to the output of a layer, where the batch has rows of adapters for it."""

        def add(layer: Any, arguments: tuple[Tensor], output: Tensor) -> Tensor:
            target = output.flatten(0, -2)
            for rows in self._adapted:
                if (addition := self._loaded[rows.adapter].layers.get(name)) is not None:
                    addition.add(target, arguments[0].flatten(0, -2), rows.where)
            return target.view_as(output)

        return add


def _linear_layers(model: Any) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Those that are given all tokens: experts are not, nor is the last one, which makes logits."""
    for name, module in model.named_modules():
        is_given_all = module is not model.get_output_embeddings() and ".experts." not in name
        if isinstance(module, torch.nn.Linear) and is_given_all:
            yield name, module
