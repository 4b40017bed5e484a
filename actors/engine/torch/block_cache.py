"""What ``transformers`` takes for its own cache, and is contexts' KV in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from actors.engine.torch.key_values import KeyValues, LayerShape
from actors.engine.torch.row import Row
from api.errors import Unsupported

MORE_THAN_KEYS_AND_VALUES = "it keeps more than the keys and values of its tokens, as a recurrent model does"


class _AttentionCache(Cache):  # type: ignore[misc]
    """A cache of keys and values by token, and of nothing else."""

    def update_conv_state(self, *arguments: Any, **options: Any) -> NoReturn:
        raise Unsupported(MORE_THAN_KEYS_AND_VALUES)

    update_recurrent_state = update_indexer = update_conv_state


class ShapeCache(_AttentionCache, DynamicCache):  # type: ignore[misc]
    """A cache of one sequence that notes the shapes of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[int, LayerShape] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *arguments: Any, **options: Any) -> Any:
        self.shapes[layer_idx] = LayerShape(keys.shape[1], keys.shape[3], values.shape[3])
        return super().update(keys, values, layer_idx, *arguments, **options)


class BlockCache(_AttentionCache):
    """The KV of some rows, each with as many new tokens as the others.

    A row that is shorter than the longest is padded at its start, as ``generate`` does it.

    Attributes:
        mask: (rows, longest), int64: 0 where a row is padded, else 1.
    """

    def __init__(self, rows: Sequence[Row], key_values: KeyValues) -> None:
        super().__init__(layers=[])
        self._key_values = key_values
        self._longest = max(row.end for row in rows)
        self._num_new = rows[0].count
        size = key_values.block_size
        table = torch.zeros(len(rows), self._longest, dtype=torch.int64)
        self.mask = torch.zeros_like(table)
        for number, row in enumerate(rows):
            blocks = torch.tensor(row.context.blocks[: -(-row.end // size)], dtype=torch.int64)
            slots = (blocks.unsqueeze(1) * size + torch.arange(size)).flatten()
            table[number, self._longest - row.end :] = slots[: row.end]
            self.mask[number, self._longest - row.end :] = 1
        self.mask = self.mask.to(key_values.device)
        self._slots = table.flatten().to(key_values.device)
        self._new_slots = table[:, self._longest - self._num_new :].flatten().to(key_values.device)

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *arguments: Any, **options: Any) -> Any:
        """Keep the new tokens' KV, (rows, heads, new, width) each; returns all KV of the rows."""
        shape, slots = self._key_values.shapes[layer_idx], self._key_values.slots[layer_idx]
        joined = torch.cat([part.transpose(1, 2).flatten(2) for part in (keys, values)], dim=-1)
        slots.index_copy_(0, self._new_slots, joined.flatten(0, 1).to(slots.dtype))
        found = slots.index_select(0, self._slots).view(len(keys), self._longest, shape.size)
        found_keys = found[..., : shape.keys_size].unflatten(-1, (shape.num_heads, shape.key_width))
        found_values = found[..., shape.keys_size :].unflatten(-1, (shape.num_heads, shape.value_width))
        return found_keys.transpose(1, 2).to(keys.dtype), found_values.transpose(1, 2).to(values.dtype)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the new ones, padding included."""
        return self._longest - self._num_new

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """How many tokens ``update`` gives, and the position of the first."""
        return self._longest, 0
