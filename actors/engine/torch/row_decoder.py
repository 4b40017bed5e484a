"""A ``Decoder`` of models whose attention is their own: biases by distance, sinks, chunks, masks of any kind."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from actors.engine.torch.adapted_layers import AdaptedLayers
from actors.engine.torch.attention import Attention, PagedAttention
from actors.engine.torch.batch import Inputs
from actors.engine.torch.block_cache import BlockCache
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.row import Row
from api.errors import Unsupported

_PADDED = 2
"""Contexts of so many times the length of the shortest are computed with it, at most."""


class RowDecoder(Decoder):
    """Has ``transformers`` compute all of a model, attention included, over the contexts' KV in blocks.

    Rows of one token each are computed together, padded as ``generate`` pads a batch; a prompt is computed alone. It
    costs more than ``TransformersDecoder``, whose attention reads contexts of different lengths where they are.
    """

    has_states = False

    def __init__(self, model: Any, layers: AdaptedLayers, pads: bool = True) -> None:
        """Take a model.

        Args:
            pads: contexts of different lengths may be computed together.
        """
        self._model = model
        self.adapters = self._layers = layers
        self._longest = _PADDED if pads else 1
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    @override
    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        assert isinstance(attention, PagedAttention), "contexts lie in blocks"
        device, found = inputs.input_ids.device, dict[int, Tensor]()
        for rows in self._together(attention.batch.rows):
            where = torch.cat([torch.arange(first, first + row.count) for first, row in rows]).to(device)
            shape = (len(rows), -1)
            cache = BlockCache([row for _, row in rows], attention.key_values)
            positions = {"position_ids": inputs.position_ids[0, where].view(shape)} if self._takes_positions else {}
            with self._layers.adapting([part for rows_of_one in inputs.adapted if (part := rows_of_one.within(where))]):
                output = self._model(
                    input_ids=inputs.input_ids[0, where].view(shape),
                    attention_mask=cache.mask,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                    **positions,
                )
            found |= {first + row.count - 1: output.logits[number, -1] for number, (first, row) in enumerate(rows)}
        return torch.stack([found[last] for last in inputs.wanted.tolist()]) if len(inputs.wanted) else torch.empty(0)

    @override
    def logits_and_sums(self, inputs: Inputs, attention: Attention) -> tuple[Tensor, Tensor]:
        raise Unsupported("a model whose attention is its own makes no embeddings")

    def _together(self, rows: Sequence[Row]) -> list[list[tuple[int, Row]]]:
        """Rows with their first tokens in the packed batch, those that are computed together in one list."""
        groups: list[list[tuple[int, Row]]] = []
        first, placed = 0, []
        for row in rows:
            placed.append((first, row))
            first += row.count
        for first, row in sorted(placed, key=lambda entry: (entry[1].count, entry[1].end)):
            others = groups[-1] if groups else []
            if row.count == 1 and others and row.end <= self._longest * others[0][1].end:
                others.append((first, row))
            else:
                groups.append([(first, row)])
        return groups
