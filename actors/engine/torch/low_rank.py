"""LoRA adapters in a packed batch: each adds a product of two small matrices to what linear layers make of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from actors.engine.adapter_files import WEIGHTS, AdapterFiles
from api.errors import InvalidRequest, reason_of

_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a linear layer: ``down`` is (in, rank), ``up`` (rank, out), with the scale in it."""

    down: Tensor
    up: Tensor

    def add(self, target: Tensor, rows: Tensor, where: Tensor) -> None:
        """Add it to some rows.

        Args:
            target: (tokens, out): what the layer made of ``rows``; written in place.
            rows: (tokens, in).
            where: (rows,), int64: those of the adapter.
        """
        target.index_add_(0, where, rows.index_select(0, where) @ self.down @ self.up)


@dataclass(frozen=True, slots=True)
class AdaptedRows:
    """Rows of a packed batch that are computed with an adapter; ``where`` is (rows,), int64."""

    adapter: str
    where: Tensor

    def within(self, tokens: Tensor) -> AdaptedRows | None:
        """Those among some tokens of the batch, (tokens,), as a batch of their own; None where there are none."""
        where = torch.isin(tokens, self.where).nonzero().flatten()
        return AdaptedRows(self.adapter, where) if len(where) else None


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's matrices, by the name of the linear layer that each is for."""

    name: str
    layers: Mapping[str, LowRank]

    @classmethod
    def load(
        cls, files: AdapterFiles, shapes: Mapping[str, Sequence[int]], device: torch.device, dtype: torch.dtype
    ) -> Adapter:
        """Read an adapter for a model.

        Args:
            shapes: (out, in) of the linear layers that an adapter may be for, by name.

        Raises:
            InvalidRequest: one sentence on why it cannot be served with this model.
        """
        tensors = _read(files)
        names = dict.fromkeys(_layer_name(files, key) for key in tensors)
        layers: dict[str, LowRank] = {}
        for name in names:
            if name not in shapes:
                raise InvalidRequest(f"adapter {files.name!r} is for {name}, which the torch engine cannot adapt")
            down, up = (tensors.get(f"{_PREFIX}{name}{part}") for part in (_DOWN, _UP))
            fits = down is not None and up is not None and down.dim() == up.dim() == 2
            if down is None or up is None or not fits or (up.shape[0], down.shape[1]) != tuple(shapes[name]):
                raise InvalidRequest(f"adapter {files.name!r} is for another model: its {name} has another shape")
            if down.shape[0] != up.shape[1]:
                raise InvalidRequest(f"adapter {files.name!r} cannot be served: the halves of its {name} do not fit")
            scaled = up.to(torch.float32) * files.scale(name)
            layers[name] = LowRank(down.t().to(device, dtype).contiguous(), scaled.t().to(device, dtype).contiguous())
        return cls(files.name, layers)

    def side_by_side(self, names: Sequence[str], widths: Sequence[int]) -> LowRank | None:
        """For layers that share their input and are computed as one, of these widths; None where it is for none."""
        found = [self.layers.get(name) for name in names]
        down = [layer.down for layer in found if layer is not None]
        if not down:
            return None
        up = [torch.zeros(0, width) if layer is None else layer.up for layer, width in zip(found, widths, strict=True)]
        return LowRank(torch.cat(down, dim=1), torch.block_diag(*up))


class Adapters(Protocol):
    """The adapters of a decoder, which change between two forward passes."""

    def prepare(self, files: AdapterFiles) -> Callable[[], object]:
        """Read one, which takes a while and may go on beside forward passes; what is returned has the decoder have it.

        Raises:
            InvalidRequest: one sentence on why it cannot be served with this model.
        """
        ...

    def remove(self, name: str) -> None:
        """Have it no longer."""
        ...


def _read(files: AdapterFiles) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(files.path / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InvalidRequest(f"adapter {files.name!r}: {WEIGHTS} cannot be read: {reason_of(error)}") from error


def _layer_name(files: AdapterFiles, key: str) -> str:
    """The name, in the model, of the layer that a tensor is for."""
    name = key.removeprefix(_PREFIX)
    for part in (_DOWN, _UP):
        if name != key and name.endswith(part):
            return name.removesuffix(part)
    raise InvalidRequest(f"adapter {files.name!r} cannot be served: it has a tensor {key}")
