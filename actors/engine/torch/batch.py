"""One packed forward pass: which tokens of which contexts, and where their KV is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from actors.engine.torch.groups import Chunk, DecodeGroup, chunk_of, group_rows
from actors.engine.torch.key_values import KeyValues
from actors.engine.torch.low_rank import AdaptedRows
from actors.engine.torch.row import Row


@dataclass(slots=True)
class Batch:
    """A packed forward pass.

    Attributes:
        rows: in packed order: first those of one token, group by group, then the others.
        input_ids, position_ids: (1, tokens), int64.
        slots: (tokens,), int64: where each token's KV goes.
        sampled: the rows whose logits are wanted, in order.
        sampled_index: (sampled rows,), int64: their last tokens, in the packed batch.
        adapted: the tokens of each adapter, in the packed batch.
    """

    rows: list[Row]
    input_ids: Tensor
    position_ids: Tensor
    slots: Tensor
    groups: list[DecodeGroup]
    chunks: list[Chunk]
    sampled: list[Row]
    sampled_index: Tensor
    adapted: list[AdaptedRows]


def pack(rows: Sequence[Row], key_values: KeyValues) -> Batch:
    """Lay out rows as one forward pass over a cache."""
    block_size, device = key_values.block_size, key_values.device
    singles, groups = group_rows([row for row in rows if row.count == 1], block_size, key_values.limits, device)
    ordered = [*singles, *(row for row in rows if row.count > 1)]
    ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    sampled_index: list[int] = []
    chunks: list[Chunk] = []
    adapted: defaultdict[str, list[int]] = defaultdict(list)
    for row in ordered:
        blocks = row.context.blocks
        if row.count > 1:
            chunks.append(chunk_of(row, len(ids), block_size, device))
        if row.context.adapter is not None:
            adapted[row.context.adapter].extend(range(len(ids), len(ids) + row.count))
        ids.extend(row.context.ids[row.start : row.end])
        positions.extend(range(row.start, row.end))
        slots.extend(blocks[p // block_size] * block_size + p % block_size for p in range(row.start, row.end))
        if row.samples:
            sampled_index.append(len(ids) - 1)
    packed = torch.tensor([ids, positions, slots], dtype=torch.int64, device=device)
    return Batch(
        rows=ordered,
        input_ids=packed[0:1],
        position_ids=packed[1:2],
        slots=packed[2],
        groups=groups,
        chunks=chunks,
        sampled=[row for row in ordered if row.samples],
        sampled_index=torch.tensor(sampled_index, dtype=torch.int64, device=device),
        adapted=[
            AdaptedRows(name, torch.tensor(where, dtype=torch.int64, device=device)) for name, where in adapted.items()
        ],
    )
